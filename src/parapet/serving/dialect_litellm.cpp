// LiteLLM's generic guardrail request (docs.litellm.ai, "Generic Guardrail API").
#include "parapet/serving/dialect_parts.h"

namespace parapet::serving {
namespace {

using nlohmann::json;

std::vector<std::string> read_strings(Fields& fields, std::string_view name, size_t max_items) {
  std::vector<std::string> result;
  const json* list = fields.array(name, max_items);
  if (list == nullptr) return result;
  for (size_t i = 0; i < list->size(); ++i)
    result.push_back(string_of((*list)[i], fields.path(name, i)));
  return result;
}

// What a model wants to call a tool with is as much its output as its text.
void read_tool_calls(Fields& fields, const DialectLimits& limits, guard::GuardRequest& input) {
  const json* calls = fields.array("tool_calls", limits.max_parts);
  if (calls == nullptr) return;
  for (size_t i = 0; i < calls->size(); ++i) {
    const std::string path = fields.path("tool_calls", i);
    if (!(*calls)[i].is_object()) fail_type(path, "an object", (*calls)[i]);
    const auto function = (*calls)[i].find("function");
    if (function == (*calls)[i].end() || function->is_null()) continue;
    if (!function->is_object()) fail_type(path + ".function", "an object", *function);
    const auto arguments = function->find("arguments");
    if (arguments == function->end() || arguments->is_null()) continue;
    const std::string label = path + ".function.arguments";
    input.parts.push_back(guard::Part::text(string_of(*arguments, label), label));
  }
}

// Who called: kept as metadata, for the audit log of a policy that asks for it.
void read_caller(Fields& fields, std::vector<std::string>& unknown, guard::GuardRequest& input) {
  if (const auto call = fields.text("litellm_call_id", 256)) {
    input.id = *call;
    input.metadata["litellm_call_id"] = *call;
  }
  if (const auto trace = fields.text("litellm_trace_id", 256))
    input.metadata["litellm_trace_id"] = *trace;
  const json* data = fields.object("request_data");
  if (data == nullptr) return;
  for (const auto& [name, value] : data->items()) {
    const bool known = name.starts_with("user_api_key_") && name.size() < 64;
    if (known && value.is_string() && value.get_ref<const std::string&>().size() <= 256)
      input.metadata[name] = value.get<std::string>();
  }
}

}  // namespace

LitellmRequest read_litellm(const json& body, const DialectLimits& limits) {
  LitellmRequest result;
  auto& unknown = result.options.unknown;
  Fields fields(body, "", unknown);
  fields.require("input_type");
  result.input.side = fields.choice("input_type", {"request", "response"}) == 0
                          ? guard::Side::kInput
                          : guard::Side::kOutput;
  read_caller(fields, unknown, result.input);
  if (const json* extra = fields.object("additional_provider_specific_params")) {
    // Our options as set in LiteLLM's configuration; other providers' keys are theirs.
    Fields ours(*extra, "additional_provider_specific_params", unknown);
    const guard::Side side = result.input.side;
    auto metadata = std::move(result.input.metadata);
    read_options(ours, result.input, result.options);
    result.input.side = side;
    for (auto& [name, value] : metadata) result.input.metadata[name] = value;
    ours.finish();
  }
  result.texts = read_strings(fields, "texts", limits.max_parts);
  result.images = read_strings(fields, "images", limits.max_parts);
  for (size_t i = 0; i < result.texts.size(); ++i)
    result.input.parts.push_back(guard::Part::text(result.texts[i], fields.path("texts", i)));
  for (size_t i = 0; i < result.images.size(); ++i)
    result.input.parts.push_back(image_part(result.images[i], fields.path("images", i)));
  read_tool_calls(fields, limits, result.input);
  // The same texts in another form, and what the caller offers or is.
  for (const char* name :
       {"structured_messages", "tools", "request_headers", "litellm_version", "model"})
    fields.accept(name);
  fields.finish();
  return result;
}

}  // namespace parapet::serving

// LiteLLM's generic guardrail request (docs.litellm.ai, "Generic Guardrail API").
#include <iterator>
#include <limits>

#include "parapet/serving/dialect_parts.h"

namespace parapet::serving {
namespace {

using nlohmann::json;

// As many as there are: the policy says which of them are looked at, and the oldest of a long
// conversation do not keep the newest from it.
const json* read_list(Fields& fields, std::string_view name) {
  return fields.array(name, std::numeric_limits<size_t>::max());
}

std::vector<std::string> read_strings(Fields& fields, std::string_view name) {
  std::vector<std::string> result;
  const json* list = read_list(fields, name);
  if (list == nullptr) return result;
  for (size_t i = 0; i < list->size(); ++i)
    result.push_back(string_of((*list)[i], fields.path(name, i)));
  return result;
}

// What a model wants to call a tool with is as much its output as its text.
void read_tool_calls(Fields& fields, PartReader& reader) {
  const json* calls = read_list(fields, "tool_calls");
  if (calls == nullptr) return;
  for (size_t i = 0; i < calls->size(); ++i) {
    const std::string path = fields.path("tool_calls", i);
    if (!(*calls)[i].is_object()) fail_type(path, "an object", (*calls)[i]);
    reader.tool_call((*calls)[i], path);
  }
}

// What the texts and images do not have: descriptions of tools, then what messages carry besides.
guard::GuardRequest read_surroundings(Fields& fields, const guard::GuardRequest& input) {
  guard::GuardRequest result;
  std::vector<std::string> unknown;  // messages are as other APIs have them
  PartReader reader(result, unknown, true);
  reader.skip(input);
  if (const json* tools = fields.find("tools"))
    reader.tools(tools->is_array() ? *tools : json::array({*tools}), "tools");
  const json* messages = fields.find("structured_messages");
  if (messages == nullptr) return result;
  if (!messages->is_array()) {
    reader.message(*messages, "structured_messages");
    return result;
  }
  for (size_t i = 0; i < messages->size(); ++i)
    reader.message((*messages)[i], fields.path("structured_messages", i));
  return result;
}

// Who called: kept as metadata, for the audit log of a policy that asks for it.
void read_caller(Fields& fields, guard::GuardRequest& input) {
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

LitellmRequest read_litellm(const json& body) {
  LitellmRequest result;
  auto& unknown = result.options.unknown;
  Fields fields(body, "", unknown);
  fields.require("input_type");
  result.input.side = fields.choice("input_type", {"request", "response"}) == 0
                          ? guard::Side::kInput
                          : guard::Side::kOutput;
  read_caller(fields, result.input);
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
  result.texts = read_strings(fields, "texts");
  result.images = read_strings(fields, "images");
  PartReader reader(result.input, unknown);
  const auto next = [&] { return static_cast<int>(result.input.parts.size()); };
  for (size_t i = 0; i < result.texts.size(); ++i) {
    result.text_parts.push_back(next());
    reader.text(result.texts[i], fields.path("texts", i));
  }
  for (size_t i = 0; i < result.images.size(); ++i) {
    result.image_parts.push_back(next());
    reader.image(result.images[i], fields.path("images", i));
  }
  read_tool_calls(fields, reader);
  // What stands in every request counts as the oldest.
  auto before = read_surroundings(fields, result.input).parts;
  for (auto* places : {&result.text_parts, &result.image_parts})
    for (int& place : *places) place += static_cast<int>(before.size());
  before.insert(before.end(), std::make_move_iterator(result.input.parts.begin()),
                std::make_move_iterator(result.input.parts.end()));
  result.input.parts = std::move(before);
  for (const char* name : {"request_headers", "litellm_version", "model"}) fields.accept(name);
  fields.finish();
  return result;
}

}  // namespace parapet::serving

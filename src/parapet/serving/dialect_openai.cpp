// OpenAI's moderation request: a string, a list of strings, or a list of parts.
#include "parapet/serving/dialect_parts.h"

namespace parapet::serving {
namespace {

using nlohmann::json;

guard::GuardRequest text_request(const std::string& text, const std::string& label) {
  guard::GuardRequest request;
  std::vector<std::string> unknown;
  PartReader(request, unknown).text(text, label);
  return request;
}

void read_list(const json& list, const DialectLimits& limits, ModerationRequest& result) {
  if (list.empty()) throw ApiError(400, "invalid_value", "'input' must not be empty", "input");
  if (list.size() > limits.max_parts)
    throw ApiError(400, "too_many_parts",
                   "'input' holds more than " + std::to_string(limits.max_parts) + " items",
                   "input");
  const auto label = [](size_t i) { return "input[" + std::to_string(i) + "]"; };
  if (list.front().is_string()) {
    for (size_t i = 0; i < list.size(); ++i)
      result.inputs.push_back(text_request(string_of(list[i], label(i)), label(i)));
    return;
  }
  guard::GuardRequest input;
  PartReader reader(input, result.options.unknown);
  for (size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_object()) fail_type(label(i), "a string or an object like its first", list[i]);
    reader.part(list[i], label(i));
  }
  result.inputs.push_back(std::move(input));
}

}  // namespace

ModerationRequest read_moderation(const json& body, const DialectLimits& limits) {
  ModerationRequest result;
  Fields fields(body, "", result.options.unknown);
  const json& input = fields.require("input");
  if (input.is_string())
    result.inputs.push_back(text_request(input.get<std::string>(), "input"));
  else if (input.is_array())
    read_list(input, limits, result);
  else
    fail_type("input", "a string, a list of strings or a list of parts", input);
  fields.text("model", 256);
  guard::GuardRequest shared;
  if (const json* ours = fields.object("parapet")) {
    Fields extension(*ours, "parapet", result.options.unknown);
    read_options(extension, shared, result.options);
    extension.finish();
  }
  fields.finish();
  for (size_t i = 0; i < result.inputs.size(); ++i) {
    shared.parts = std::move(result.inputs[i].parts);
    result.inputs[i] = shared;
    if (result.inputs.size() > 1 && !shared.id.empty())
      result.inputs[i].id += "-" + std::to_string(i);
  }
  return result;
}

}  // namespace parapet::serving

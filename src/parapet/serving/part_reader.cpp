// The content of requests, part by part.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "parapet/serving/dialect_parts.h"
#include "parapet/serving/json_text.h"

namespace parapet::serving {
namespace {

using nlohmann::json;

constexpr size_t kPackedTools = 4096;  // bytes of descriptions that make one part
constexpr size_t kLongData = 1024;     // a string of this size without a blank is data, not text

template <size_t n>
bool is_one_of(std::string_view name, const std::array<std::string_view, n>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_role(const json& value) {
  static constexpr std::array<std::string_view, 6> kRoles = {"system",    "developer", "user",
                                                             "assistant", "tool",      "function"};
  return value.is_string() && is_one_of(value.get_ref<const std::string&>(), kRoles);
}

bool is_word(const std::string& text) {
  return text.size() <= 80 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 ||
                  std::string_view("-_.:/").find(c) != std::string_view::npos;
         });
}

bool all_words(const json& value) {
  if (value.is_string()) return is_word(value.get_ref<const std::string&>());
  if (!value.is_structured()) return true;
  return std::all_of(value.begin(), value.end(), all_words);
}

// Names and settings that say nothing: {"tool_call_id": "call_9mQ-1"}, {"detail": "high"}.
bool is_setting(std::string_view key, const json& value) {
  static constexpr std::array<std::string_view, 14> kKeys = {
      "id",     "tool_call_id", "tool_use_id", "call_id",       "item_id", "detail",   "format",
      "status", "media_type",   "index",       "cache_control", "type",    "is_error", "mime_type"};
  return value.is_null() || (is_one_of(key, kKeys) && all_words(value));
}

bool is_data(const std::string& text) {
  return text.size() > kLongData && text.find_first_of(" \t\r\n") >= kLongData;
}

// Takes strings that are data out of `value`; whether there were some.
bool drop_data(json& value) {
  if (value.is_string() && is_data(value.get_ref<const std::string&>())) {
    value = nullptr;
    return true;
  }
  bool dropped = false;
  if (value.is_structured())
    for (json& item : value) dropped |= drop_data(item);
  return dropped;
}

std::string_view text_field(std::string_view type) {
  static constexpr std::array<std::string_view, 5> kTexts = {"text", "input_text", "output_text",
                                                             "summary_text", "reasoning_text"};
  if (is_one_of(type, kTexts)) return "text";
  return type == "refusal" || type == "thinking" ? type : "";
}

bool is_call(std::string_view type) {
  static constexpr std::array<std::string_view, 5> kCalls = {
      "tool_use", "server_tool_use", "mcp_tool_use", "function_call", "custom_tool_call"};
  return is_one_of(type, kCalls);
}

bool is_result(std::string_view type) {
  static constexpr std::array<std::string_view, 4> kResults = {
      "tool_result", "mcp_tool_result", "function_call_output", "custom_tool_call_output"};
  return is_one_of(type, kResults);
}

}  // namespace

void PartReader::text(const std::string& text, const std::string& label) {
  request_.parts.push_back(guard::Part::text(text, label));
  std::string decoded = decoded_reading(text);
  if (!decoded.empty())
    request_.parts.push_back(guard::Part::text(std::move(decoded), label + " (decoded)"));
}

void PartReader::image(std::string value, std::string label) {
  request_.parts.push_back(image_part(std::move(value), std::move(label)));
}

// Strings of what no dialect knows are read as text; data among them is not.
void PartReader::other(const json& value, const std::string& path) {
  json texts = value;
  if (value.is_object())
    for (const auto& [key, item] : value.items())
      if (is_setting(key, item)) texts.erase(key);
  if (drop_data(texts)) request_.parts.push_back(guard::Part::unread("data", path));
  JsonText found;
  found.add(texts);
  std::string text = found.take();
  if (!text.empty() && is_new(text))
    request_.parts.push_back(guard::Part::text(std::move(text), path));
}

void PartReader::image_value(const json& value, const std::string& path, const std::string& label) {
  std::string url;
  if (value.is_string()) {
    url = value.get<std::string>();
  } else {
    Fields fields(value, path, unknown_);
    url = string_of(fields.require("url"), fields.path("url"));
    fields.accept("detail");
    fields.accept("format");
    fields.finish();
  }
  if (is_new(url)) request_.parts.push_back(guard::Part::url(std::move(url), label));
}

void PartReader::call(const json* name, const json* arguments, const std::string& path) {
  JsonText said;
  if (name != nullptr) said.add(*name);
  if (arguments != nullptr) said.add(*arguments);
  std::string text = said.take();
  if (!text.empty() && is_new(text))
    request_.parts.push_back(guard::Part::text(std::move(text), path));
}

void PartReader::typed_part(const std::string& type, Fields& fields, const std::string& path) {
  if (const std::string name(text_field(type)); !name.empty()) {
    const std::string& said = string_of(fields.require(name), fields.path(name));
    if (is_new(said)) text(said, path);
  } else if (type == "image_url") {
    image_value(fields.require("image_url"), fields.path("image_url"), path);
  } else if (const json* url = type == "input_image" ? fields.find("image_url") : nullptr) {
    image_value(*url, fields.path("image_url"), path);
  } else if (const json* source = type == "image" ? fields.object("source") : nullptr) {
    Fields inner(*source, fields.path("source"), unknown_);
    const json* data = inner.find("data");
    const json& value = data != nullptr ? *data : inner.require("url");
    std::string image_text = string_of(value, inner.path(data != nullptr ? "data" : "url"));
    if (is_new(image_text)) image(std::move(image_text), path);
  } else if (type == "image") {
    const std::string& data = string_of(fields.require("data"), fields.path("data"));
    if (is_new(data)) image(data, path);
    fields.accept("media_type");
  } else if (is_call(type)) {
    const json* function = fields.find("name");
    const json* input = fields.find("input");
    call(function, input != nullptr ? input : fields.find("arguments"), path);
  } else if (is_result(type)) {
    for (const char* field : {"content", "output"})
      if (const json* value = fields.find(field)) content(*value, path + "." + field);
  } else {
    request_.parts.push_back(guard::Part::unread(type.substr(0, 64), path));
  }
}

void PartReader::part(const json& value, const std::string& path) {
  Fields fields(value, path, unknown_);
  const std::string type = string_of(fields.require("type"), fields.path("type"));
  const std::string label = fields.text("label", 256).value_or(path);
  const size_t before = request_.parts.size();
  static constexpr std::array<std::string_view, 3> kOurs = {"text", "image_url", "image"};
  try {
    typed_part(type, fields, label);
  } catch (const ApiError&) {
    // A mistake in a part of another API's is not read, and said so.
    if (is_one_of(type, kOurs)) throw;
    request_.parts.push_back(guard::Part::unread(type.substr(0, 64), label));
  }
  const json rest = fields.rest();
  if (!rest.empty()) other(rest, label);
  // Every item of a caller's list has its place in the decision.
  if (request_.parts.size() == before && !once_)
    request_.parts.push_back(guard::Part::text("", label));
  fields.finish();
}

// Content that somebody else checked, or nobody: a mistake in it is not the caller's.
void PartReader::items(const json& list, const std::string& path) {
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string label = path + "[" + std::to_string(i) + "]";
    if (list[i].is_string()) {
      content(list[i], label);
      continue;
    }
    try {
      part(list[i], label);
    } catch (const ApiError&) {
      request_.parts.push_back(guard::Part::unread("malformed", label));
      other(list[i], label);
    }
  }
}

void PartReader::content(const json& value, const std::string& path) {
  if (value.is_array()) return items(value, path);
  if (value.is_object()) return items(json::array({value}), path);
  if (!value.is_string()) return other(value, path);
  const auto& said = value.get_ref<const std::string&>();
  if (is_new(said)) text(said, path);
}

void PartReader::tool_call(const json& value, const std::string& path) {
  if (!value.is_object()) return other(value, path);
  json rest = value;
  const auto function = value.find("function");
  if (function != value.end() && function->is_object()) {
    const auto field = [&](const char* name) {
      const auto found = function->find(name);
      return found == function->end() ? nullptr : &*found;
    };
    call(field("name"), field("arguments"), path + ".function");
    rest["function"].erase("name");
    rest["function"].erase("arguments");
    if (rest["function"].empty()) rest.erase("function");
  }
  other(rest, path);
}

void PartReader::message(const json& value, const std::string& path) {
  if (!value.is_object()) return other(value, path);
  json rest = json::object();
  for (const auto& [key, item] : value.items()) {
    const std::string label = path + "." + key;
    if (key == "content") {
      content(item, label);
    } else if (key == "tool_calls" && item.is_array()) {
      for (size_t i = 0; i < item.size(); ++i)
        tool_call(item[i], label + "[" + std::to_string(i) + "]");
    } else if (key == "function_call" && item.is_object()) {
      tool_call({{"function", item}}, path);
    } else if (key != "role" || !is_role(item)) {
      rest[key] = item;
    }
  }
  if (!rest.empty()) other(rest, path);
}

void PartReader::tools(const json& list, const std::string& path) {
  std::string text, first;
  const auto label = [&](size_t i) { return path + "[" + std::to_string(i) + "]"; };
  for (size_t i = 0; i < list.size(); ++i) {
    JsonText one;
    one.add_schema(list[i]);
    const std::string said = one.take();
    if (said.empty()) continue;
    if (!text.empty() && text.size() + said.size() > kPackedTools) {
      request_.parts.push_back(guard::Part::text(std::move(text), first));
      text.clear();
    }
    if (text.empty()) first = label(i);
    text += (text.empty() ? "" : "\n") + said;
  }
  if (!text.empty()) request_.parts.push_back(guard::Part::text(std::move(text), first));
}

void PartReader::skip(const guard::GuardRequest& request) {
  for (const guard::Part& part : request.parts) seen_.insert(part.content);
}

}  // namespace parapet::serving

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

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

// "call_9mQ-1", "7d1f03c2-...": what a machine numbers things with. Words joined by signs
// ("i-will-hurt-you") are a sentence, and are read as one.
bool is_identifier(std::string_view text) {
  static constexpr size_t kMaxSegments = 3, kUuidSegments = 5, kUuid = 36;
  if (text.size() > 80) return false;
  size_t segments = 0, words = 0;
  const bool digits = std::any_of(text.begin(), text.end(), is_digit);
  for (size_t at = 0; at <= text.size(); ++segments) {
    const size_t end = std::min(text.find_first_of("-_.:/", at), text.size());
    const std::string_view segment = text.substr(at, end - at);
    if (!std::all_of(segment.begin(), segment.end(),
                     [](char c) { return is_letter(c) || is_digit(c); }))
      return false;
    words += segment.size() > 1 && std::all_of(segment.begin(), segment.end(), is_letter);
    at = end + 1;
  }
  const bool uuid = text.size() == kUuid && segments == kUuidSegments;
  return (segments <= kMaxSegments || uuid) && (words == 0 || (words == 1 && digits));
}

// The values of fields that say how a thing is meant, not what is said.
bool is_setting_value(std::string_view key, std::string_view value) {
  struct Setting {
    std::string_view key, values;
  };
  static constexpr std::string_view kMedia =
      " image/png image/jpeg image/jpg image/gif image/webp image/bmp image/tiff image/avif "
      "image/heic image/heif audio/wav audio/x-wav audio/mpeg audio/mp3 audio/mp4 audio/ogg "
      "audio/flac audio/webm video/mp4 video/webm video/mpeg text/plain application/pdf "
      "application/json ";
  static constexpr std::array kSettings = {
      Setting{"detail", " auto low high original "},
      Setting{"format", " wav mp3 flac opus aac pcm16 png jpeg jpg webp gif pdf json text "},
      Setting{"status", " in_progress completed incomplete failed cancelled searching queued "},
      Setting{"type", " base64 url file text image function custom ephemeral content tool "},
      Setting{"media_type", kMedia},
      Setting{"mime_type", kMedia},
  };
  for (const Setting& setting : kSettings)
    if (setting.key == key) {
      const std::string word = " " + std::string(value) + " ";
      return value.find(' ') == std::string_view::npos &&
             setting.values.find(word) != std::string_view::npos;
    }
  return false;
}

// Names and settings that say nothing: {"tool_call_id": "call_9mQ-1"}, {"detail": "high"}. Whatever
// has an unexpected form is read.
bool is_setting(std::string_view key, const json& value) {
  static constexpr std::array<std::string_view, 5> kIds = {"id", "tool_call_id", "tool_use_id",
                                                           "call_id", "item_id"};
  static constexpr std::array<std::string_view, 2> kPlain = {"index", "is_error"};
  if (value.is_null()) return true;
  if (is_one_of(key, kPlain)) return value.is_boolean() || value.is_number();
  if (key == "cache_control") {
    if (!value.is_object()) return false;
    for (const auto& [name, said] : value.items())
      if (!(name == "type" && said == "ephemeral") &&
          !(name == "ttl" && (said == "5m" || said == "1h")))
        return false;
    return true;
  }
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  return is_one_of(key, kIds) ? is_identifier(text) : is_setting_value(key, text);
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
    other(fields.rest(), path);
    fields.accept("detail");
    fields.accept("format");
    fields.finish();
  }
  if (is_new(url, Kind::kImage)) request_.parts.push_back(guard::Part::url(std::move(url), label));
}

// {"data": base64}, {"url": ...}. Which of two a model is given depends on who reads them: both are
// looked at.
bool PartReader::image_fields(Fields& fields, const std::string& label) {
  bool any = false;
  for (const char* field : {"data", "url"}) {
    const json* value = fields.find(field);
    if (value == nullptr) continue;
    any = true;
    std::string said = string_of(*value, fields.path(field));
    if (is_new(said, Kind::kImage)) image(std::move(said), label);
  }
  return any;
}

void PartReader::image_part_fields(Fields& fields, const std::string& path) {
  const json* source = fields.object("source");
  bool any = false;
  if (source != nullptr) {
    Fields inner(*source, fields.path("source"), unknown_);
    any = image_fields(inner, path);
    if (!any) inner.require("data");
    other(inner.rest(), inner.path("type"));
    for (const char* field : {"type", "media_type"}) inner.accept(field);
    inner.finish();
  }
  if (!image_fields(fields, path) && !any) fields.require("data");
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
  } else if (type == "image") {
    image_part_fields(fields, path);
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
  if (type == "image") fields.accept("media_type");
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
  for (const guard::Part& part : request.parts)
    if (part.kind != guard::Part::Kind::kUnread)
      seen_.emplace(part.kind == guard::Part::Kind::kText ? Kind::kText : Kind::kImage,
                    part.content);
}

}  // namespace parapet::serving

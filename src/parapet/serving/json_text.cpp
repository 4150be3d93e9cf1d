#include "parapet/serving/json_text.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "parapet/core/utf8.h"

namespace parapet::serving {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 8;  // of JSON within strings of JSON

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// Keys and values in the order of the text, repeated keys included.
struct Leaves final : nlohmann::json_sax<json> {
  std::vector<std::string> found;
  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(int64_t value) override { return keep(std::to_string(value)); }
  bool number_unsigned(uint64_t value) override { return keep(std::to_string(value)); }
  bool number_float(double /*value*/, const std::string& text) override { return keep(text); }
  bool string(std::string& value) override { return keep(value); }
  bool binary(json::binary_t& /*value*/) override { return true; }
  bool key(std::string& value) override { return keep(value); }
  bool start_object(size_t /*elements*/) override { return true; }
  bool end_object() override { return true; }
  bool start_array(size_t /*elements*/) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t /*at*/, const std::string& /*token*/,
                   const json::exception& /*error*/) override {
    return false;
  }

 private:
  bool keep(std::string value) {
    found.push_back(std::move(value));
    return true;
  }
};

// False when the text is no object, array or string of JSON.
bool read_leaves(std::string_view text, std::vector<std::string>& leaves) {
  const std::string_view inside = trimmed(text);
  if (inside.size() < 2 || std::string_view("{[\"").find(inside.front()) == std::string_view::npos)
    return false;
  Leaves reader;
  if (!json::sax_parse(inside, &reader)) return false;
  leaves = std::move(reader.found);
  return true;
}

// Value of four hexadecimal digits at `at`; -1 when they are not.
int32_t hex4(std::string_view text, size_t at) {
  if (at + 4 > text.size()) return -1;
  int32_t value = 0;
  for (const char c : text.substr(at, 4)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

// Decodes what follows a backslash at `at`; the bytes read, 0 when that is no escape.
size_t unescape_one(std::string_view text, size_t at, std::string& out) {
  constexpr std::string_view kFrom = "nrtbf\"\\/", kTo = "\n\r\t \n\"\\/";
  if (at >= text.size()) return 0;
  if (const size_t simple = kFrom.find(text[at]); simple != std::string_view::npos) {
    out += kTo[simple];
    return 1;
  }
  if (text[at] != 'u') return 0;
  int32_t code = hex4(text, at + 1);
  if (code < 0) return 0;
  size_t used = 5;
  if (code >= 0xD800 && code < 0xDC00 && text.substr(std::min(text.size(), at + 5), 2) == "\\u") {
    const int32_t low = hex4(text, at + 7);
    if (low >= 0xDC00 && low < 0xE000) {
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      used = 11;
    }
  }
  const bool alone = code >= 0xD800 && code < 0xE000;
  append_utf8(out, static_cast<char32_t>(alone ? 0xFFFD : code));
  return used;
}

// The text with JSON's escapes decoded, wherever they stand.
std::string unescape(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '\\') {
      const size_t used = unescape_one(text, at + 1, out);
      if (used > 0) {
        at += 1 + used;
        continue;
      }
    }
    out += text[at++];
  }
  return out;
}

bool is_schema_key(std::string_view key) {
  static constexpr std::array<std::string_view, 19> kKeys = {"type",        "function",
                                                             "parameters",  "properties",
                                                             "required",    "items",
                                                             "description", "name",
                                                             "enum",        "strict",
                                                             "anyOf",       "oneOf",
                                                             "allOf",       "additionalProperties",
                                                             "format",      "inputSchema",
                                                             "title",       "default",
                                                             "input_schema"};
  return std::find(kKeys.begin(), kKeys.end(), key) != kKeys.end();
}

bool is_schema_type(const json& value) {
  static constexpr std::array<std::string_view, 8> kTypes = {
      "object", "string", "number", "integer", "boolean", "array", "null", "function"};
  return value.is_string() && std::find(kTypes.begin(), kTypes.end(),
                                        value.get_ref<const std::string&>()) != kTypes.end();
}

}  // namespace

void JsonText::add_line(std::string_view text) {
  if (text.empty()) return;
  if (!text_.empty()) text_ += '\n';
  text_ += text;
}

void JsonText::add_string(std::string_view text, int depth) {
  std::vector<std::string> leaves;
  if (depth < kMaxDepth && read_leaves(text, leaves)) {
    for (const std::string& leaf : leaves) add_string(leaf, depth + 1);
    return;
  }
  add_line(text);
  if (text.find('\\') == std::string_view::npos) return;
  const std::string decoded = unescape(text);
  if (decoded != text) add_line(decoded);
}

// As deep as the caller's cap on nesting.
void JsonText::add(const json& value) {
  if (value.is_object()) {
    for (const auto& [key, item] : value.items()) {
      add_string(key);
      add(item);
    }
  } else if (value.is_array()) {
    for (const json& item : value) add(item);
  } else if (value.is_string()) {
    add_string(value.get_ref<const std::string&>());
  } else if (value.is_number()) {
    add_line(value.dump());
  }
}

void JsonText::add_schema(const json& value) {
  if (value.is_object()) {
    for (const auto& [key, item] : value.items()) {
      if (!is_schema_key(key)) add_string(key);
      if (key != "type" || !is_schema_type(item)) add_schema(item);
    }
  } else if (value.is_array()) {
    for (const json& item : value) add_schema(item);
  } else {
    add(value);
  }
}

std::string decoded_reading(std::string_view text) {
  const bool escaped = text.find('\\') != std::string_view::npos;
  const bool json_like =
      text.find('"') != std::string_view::npos || text.find("\\u") != std::string_view::npos;
  if (!escaped || !json_like) return "";
  std::vector<std::string> leaves;
  if (!read_leaves(text, leaves)) {
    std::string decoded = unescape(text);
    return decoded == text ? std::string() : decoded;
  }
  JsonText reading;
  reading.add_string(text);
  return reading.take();
}

}  // namespace parapet::serving

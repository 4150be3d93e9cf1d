#include "parapet/serving/json_body.h"

#include <algorithm>
#include <cstring>

#include "parapet/core/strings.h"
#include "parapet/serving/json_lift.h"

namespace parapet::serving {
namespace {

using nlohmann::json;

constexpr size_t kMaxUnknown = 32;
constexpr size_t kMaxUnknownBytes = 80;

[[noreturn]] void fail_body(std::string code, const std::string& message) {
  throw ApiError(400, std::move(code), message);
}

// Index of the quote that ends the string begun at `open`, or the end of the text.
size_t end_of_string(std::string_view text, size_t open) {
  size_t at = open + 1;
  while (at < text.size()) {
    const void* found = std::memchr(text.data() + at, '"', text.size() - at);
    if (found == nullptr) return text.size();
    const auto quote = static_cast<size_t>(static_cast<const char*>(found) - text.data());
    size_t slashes = 0;
    while (quote - slashes > open + 1 && text[quote - slashes - 1] == '\\') ++slashes;
    if (slashes % 2 == 0) return quote;
    at = quote + 1;
  }
  return text.size();
}

// Depth and number of values, before a parser allocates anything for them. Finds the long strings
// on its way.
void check_shape(std::string_view text, const JsonLimits& limits, LongStrings& strings) {
  int64_t depth = 0;
  int64_t values = 1;
  for (size_t at = 0; at < text.size(); ++at) {
    switch (text[at]) {
      case '"': {
        const size_t end = end_of_string(text, at);
        strings.offer(at, end);
        at = end;
        break;
      }
      case '{':
      case '[':
        if (++depth > limits.max_depth)
          fail_body("too_deep", "JSON, offset " + std::to_string(at) + ": nested deeper than " +
                                    std::to_string(limits.max_depth));
        ++values;
        break;
      case '}':
      case ']':
        --depth;
        break;
      case ',':
        ++values;
        break;
      default:
        break;
    }
    if (values > limits.max_values)
      fail_body("too_many_values", "JSON, offset " + std::to_string(at) + ": more than " +
                                       std::to_string(limits.max_values) + " values");
  }
}

json parse_text(std::string_view body) {
  try {
    return json::parse(body);
  } catch (const json::parse_error& error) {
    const std::string what = error.what();
    const bool utf8 = what.find("UTF-8") != std::string::npos;
    fail_body("invalid_json", std::string(utf8 ? "the body is not UTF-8" : "the body is not JSON") +
                                  ": mistake at offset " +
                                  std::to_string(error.byte > 0 ? error.byte - 1 : 0));
  } catch (const json::exception&) {
    fail_body("invalid_json", "the body holds a number that is out of range");
  }
}

json parse_reduced(std::string_view body, const LongStrings& strings) {
  json value = json::parse(strings.reduced(), nullptr, false);
  if (value.is_discarded()) return parse_text(body);  // names the offset in what was sent
  strings.restore(value);
  return value;
}

const char* type_of(const json& value) {
  if (value.is_boolean()) return "true or false";
  if (value.is_number()) return "a number";
  if (value.is_string()) return "a string";
  if (value.is_array()) return "an array";
  if (value.is_object()) return "an object";
  return "null";
}

}  // namespace

json parse_body(std::string_view body, const JsonLimits& limits) {
  LongStrings strings(body);
  check_shape(body, limits, strings);
  json value = strings.worth_lifting() ? parse_reduced(body, strings) : parse_text(body);
  if (!value.is_object())
    fail_body("invalid_type", std::string("the body must be an object, not ") + type_of(value));
  return value;
}

void fail_type(const std::string& path, std::string_view wanted, const json& value) {
  throw ApiError(400, "invalid_type",
                 "'" + path + "' must be " + std::string(wanted) + ", not " + type_of(value), path);
}

const std::string& string_of(const json& value, const std::string& path) {
  if (!value.is_string()) fail_type(path, "a string", value);
  return value.get_ref<const std::string&>();
}

Fields::Fields(const json& object, std::string path, std::vector<std::string>& unknown)
    : object_(object), path_(std::move(path)), unknown_(unknown) {
  if (!object_.is_object()) fail_type(path_, "an object", object_);
}

std::string Fields::path(std::string_view name) const {
  return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

std::string Fields::path(std::string_view name, size_t index) const {
  return path(name) + "[" + std::to_string(index) + "]";
}

const json* Fields::find(std::string_view name) {
  known_.emplace_back(name);
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<std::string> Fields::text(std::string_view name, size_t max_characters) {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const std::string& text = string_of(*value, path(name));
  const auto characters = std::count_if(text.begin(), text.end(),
                                        [](char c) { return (static_cast<uint8_t>(c) >> 6) != 2; });
  if (characters > static_cast<std::ptrdiff_t>(max_characters))
    throw ApiError(
        400, "too_long",
        "'" + path(name) + "' is longer than " + std::to_string(max_characters) + " characters",
        path(name));
  return text;
}

std::optional<bool> Fields::flag(std::string_view name) {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) fail_type(path(name), "true or false", *value);
  return value->get<bool>();
}

std::optional<double> Fields::number(std::string_view name, double low, double high) {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) fail_type(path(name), "a number", *value);
  const double number = value->get<double>();
  if (!(number >= low && number <= high))
    throw ApiError(
        400, "out_of_range",
        "'" + path(name) + "' must be in " + format_number(low, 0) + ".." + format_number(high, 0),
        path(name));
  return number;
}

int Fields::choice(std::string_view name, const std::vector<std::string>& choices) {
  const json* value = find(name);
  if (value == nullptr) return -1;
  const std::string& text = string_of(*value, path(name));
  const auto found = std::find(choices.begin(), choices.end(), text);
  if (found == choices.end())
    throw ApiError(400, "invalid_value",
                   "'" + path(name) + "' must be one of " + join(choices, ", "), path(name));
  return static_cast<int>(found - choices.begin());
}

const json* Fields::object(std::string_view name) {
  const json* value = find(name);
  if (value != nullptr && !value->is_object()) fail_type(path(name), "an object", *value);
  return value;
}

const json* Fields::array(std::string_view name, size_t max_items) {
  const json* value = find(name);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) fail_type(path(name), "an array", *value);
  if (value->size() > max_items)
    throw ApiError(400, "too_many_parts",
                   "'" + path(name) + "' holds more than " + std::to_string(max_items) + " items",
                   path(name));
  return value;
}

const json& Fields::require(std::string_view name) {
  const json* value = find(name);
  if (value == nullptr)
    throw ApiError(400, "missing_field", "'" + path(name) + "' is required", path(name));
  return *value;
}

json Fields::rest() const {
  json left = json::object();
  for (const auto& [name, value] : object_.items())
    if (std::find(known_.begin(), known_.end(), name) == known_.end()) left[name] = value;
  return left;
}

void Fields::finish() {
  for (const auto& [name, value] : object_.items()) {
    if (unknown_.size() >= kMaxUnknown) return;
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    std::string shown = path(name);
    if (shown.size() > kMaxUnknownBytes) shown = path_ + ".(a long name)";
    unknown_.push_back(std::move(shown));
  }
}

}  // namespace parapet::serving

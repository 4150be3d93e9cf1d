#include "parapet/core/json.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/text_encoding.h"

namespace parapet {
namespace {

using nlohmann::json;

// A parsed document takes several times its text; no configuration or tokenizer comes near.
constexpr int64_t kJsonCap = int64_t{256} << 20;

// True for an integer that int64_t holds.
bool is_int64(const json& value) {
  if (value.is_number_unsigned()) return value.get<uint64_t>() <= uint64_t{INT64_MAX};
  return value.is_number_integer();
}

template <class T>
bool holds(const json& value) {
  if constexpr (std::is_same_v<T, bool>)
    return value.is_boolean();
  else if constexpr (std::is_same_v<T, int64_t>)
    return is_int64(value);
  else if constexpr (std::is_same_v<T, double>)
    return value.is_number();
  else if constexpr (std::is_same_v<T, std::string>)
    return value.is_string();
  else {
    if (!value.is_array()) return false;
    for (const auto& item : value)
      if (!holds<typename T::value_type>(item)) return false;
    return true;
  }
}

template <class T>
const char* type_name() {
  if constexpr (std::is_same_v<T, bool>)
    return "true or false";
  else if constexpr (std::is_same_v<T, int64_t>)
    return "an integer";
  else if constexpr (std::is_same_v<T, double>)
    return "a number";
  else if constexpr (std::is_same_v<T, std::string>)
    return "a string";
  else if constexpr (std::is_same_v<T, std::vector<std::string>>)
    return "a list of strings";
  else
    return "a list of numbers";
}

template <class T>
T typed(const json& value, std::string_view field, std::string_view source) {
  if (!holds<T>(value))
    throw DataError(source, "field '" + std::string(field) + "' must be " + type_name<T>() +
                                ", not " + value.type_name());
  return value.get<T>();
}

// The library's text starts with "[json.exception...] "; this is what follows.
std::string reason(const json::exception& error) {
  const std::string what = error.what();
  const size_t cut = what.find("] ");
  return cut == std::string::npos ? what : what.substr(cut + 2);
}

}  // namespace

json parse_json(std::string_view text, std::string_view source) {
  try {
    return json::parse(text);
  } catch (const json::parse_error& error) {
    throw DataError(std::string(source) + " at byte " + std::to_string(error.byte),
                    "not valid JSON: " + reason(error));
  } catch (const json::exception& error) {  // e.g. a number beyond double's range
    throw DataError(source, "not valid JSON: " + reason(error));
  }
}

json load_json(const std::filesystem::path& file) {
  return parse_json(read_text_file(file, kJsonCap), file.string());
}

void save_json(const std::filesystem::path& file, const json& value) {
  write_file_atomic(file, value.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

template <class T>
T json_field(const json& object, std::string_view field, std::string_view source) {
  if (!object.is_object()) throw DataError(source, "must be a JSON object");
  const auto it = object.find(std::string(field));
  if (it == object.end()) throw DataError(source, "field '" + std::string(field) + "' is missing");
  return typed<T>(*it, field, source);
}

template <class T>
T json_field_or(const json& object, std::string_view field, T fallback, std::string_view source) {
  if (!object.is_object()) throw DataError(source, "must be a JSON object");
  const auto it = object.find(std::string(field));
  if (it == object.end() || it->is_null()) return fallback;
  return typed<T>(*it, field, source);
}

#define PARAPET_JSON_FIELD(T)                                                \
  template T json_field<T>(const json&, std::string_view, std::string_view); \
  template T json_field_or<T>(const json&, std::string_view, T, std::string_view);
PARAPET_JSON_FIELD(bool)
PARAPET_JSON_FIELD(int64_t)
PARAPET_JSON_FIELD(double)
PARAPET_JSON_FIELD(std::string)
PARAPET_JSON_FIELD(std::vector<std::string>)
PARAPET_JSON_FIELD(std::vector<double>)
PARAPET_JSON_FIELD(std::vector<int64_t>)
#undef PARAPET_JSON_FIELD

}  // namespace parapet

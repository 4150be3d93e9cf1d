// Request bodies: JSON with caps, and fields read so that what is not known is reported.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/serving/api_error.h"

namespace parapet::serving {

struct JsonLimits {
  int64_t max_depth = 32;
  int64_t max_values = 100'000;  // values take many times their text
};

// ApiError 400 names the byte offset: not JSON, not UTF-8, too deep, too many values, or a value
// that is not an object.
nlohmann::json parse_body(std::string_view body, const JsonLimits& limits = {});

// One object. Reading a field makes it known; finish() appends the paths of the others to
// `unknown` (the first 32). null counts as absent. ApiError 400 names the path.
class Fields {
 public:
  Fields(const nlohmann::json& object, std::string path, std::vector<std::string>& unknown);

  const nlohmann::json* find(std::string_view name);
  // At most `max_characters` code points, as JSON Schema's maxLength counts.
  std::optional<std::string> text(std::string_view name, size_t max_characters = 256);
  std::optional<bool> flag(std::string_view name);
  std::optional<double> number(std::string_view name, double low, double high);
  // Index into `choices`; -1 when absent.
  int choice(std::string_view name, const std::vector<std::string>& choices);
  const nlohmann::json* object(std::string_view name);
  const nlohmann::json* array(std::string_view name, size_t max_items);
  // A field that must be there.
  const nlohmann::json& require(std::string_view name);
  // Known, and nothing to us.
  void accept(std::string_view name) { find(name); }
  void finish();
  // The fields that were not read.
  nlohmann::json rest() const;

  std::string path(std::string_view name) const;
  std::string path(std::string_view name, size_t index) const;

 private:
  const nlohmann::json& object_;
  std::string path_;
  std::vector<std::string>& unknown_;
  std::vector<std::string> known_;
};

// ApiError "invalid_type": "'input[3]' must be a string, not an array".
[[noreturn]] void fail_type(const std::string& path, std::string_view wanted,
                            const nlohmann::json& value);
// The string inside, or fail_type.
const std::string& string_of(const nlohmann::json& value, const std::string& path);

}  // namespace parapet::serving

// Internal: what JSON says, for content that comes as JSON: arguments and results of tools,
// descriptions of tools, fields that no dialect knows.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace parapet::serving {

// Gathers keys, strings and numbers, each on a line of its own. JSON inside a string is read too,
// and escapes of what is no JSON after all.
class JsonText {
 public:
  void add(const nlohmann::json& value);
  // The same without the keys and type names that every JSON Schema has.
  void add_schema(const nlohmann::json& value);
  // A string as it stands or, where it holds JSON, what that says. Of keys that are named twice
  // both count: which one a reader takes is not ours to know.
  void add_string(std::string_view text) { add_string(text, 0); }
  bool empty() const { return text_.empty(); }
  std::string take() { return std::move(text_); }

 private:
  void add_string(std::string_view text, int depth);
  void add_line(std::string_view text);
  std::string text_;
};

// What a text says beyond its letters: that of JSON with escapes, whole or inside. Empty where
// there is none.
std::string decoded_reading(std::string_view text);

}  // namespace parapet::serving

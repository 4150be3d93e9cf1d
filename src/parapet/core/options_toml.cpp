// Recipes: options from TOML and back. Kept apart because toml++ is a heavy header.
#include <map>
#include <sstream>
#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/option.h"
#include "parapet/core/options.h"
#include "parapet/core/strings.h"
#include "parapet/core/text_encoding.h"
#include "parapet/core/toml_checks.h"

namespace parapet {
namespace {

constexpr int64_t kRecipeCap = 16 << 20;

// Each returns false when the node has another type.
bool assign(const Option&, const toml::node& node, bool& value) {
  const auto read = node.value_exact<bool>();
  if (read) value = *read;
  return read.has_value();
}

bool assign(const Option&, const toml::node& node, int64_t& value) {
  const auto read = node.value_exact<int64_t>();
  if (read) value = *read;
  return read.has_value();
}

bool assign(const Option& option, const toml::node& node, double& value) {
  if (!node.is_number()) return false;
  const double read = *node.value<double>();
  check_number(option, read);
  value = read;
  return true;
}

bool assign(const Option& option, const toml::node& node, std::string& value) {
  const auto read = node.value_exact<std::string>();
  if (!read) return false;
  check_choice(option, *read);
  value = *read;
  return true;
}

template <class T>
bool assign(const Option& option, const toml::node& node, std::vector<T>& values) {
  const auto* array = node.as_array();
  if (array == nullptr) return false;
  std::vector<T> read;
  for (const auto& item : *array)
    if (!assign(option, item, read.emplace_back())) return false;
  values = std::move(read);
  return true;
}

std::string expected_type(const Option& option) {
  static constexpr const char* kNames[] = {"true or false",     "an integer",
                                           "a number",          "a string",
                                           "a list of strings", "a list of numbers"};
  return kNames[option.value.index()];
}

// One key; returns the problem, or nothing.
std::string load_key(const OptionList& list, std::string_view key, const toml::node& node,
                     std::vector<std::string>& set) {
  const Option* option = list.find(key);
  if (option == nullptr) {
    const std::string hint = list.closest(key);
    return "unknown option '" + std::string(key) + "'" +
           (hint.empty() ? "" : ", did you mean '" + hint + "'?");
  }
  if (std::find(set.begin(), set.end(), option->name) != set.end())
    return "'" + option->name + "' is given twice";
  try {
    const bool ok =
        std::visit([&](auto* value) { return assign(*option, node, *value); }, option->value);
    if (!ok) return "'" + option->name + "' must be " + expected_type(*option);
  } catch (const UsageError& error) {
    return error.what();
  }
  set.push_back(option->name);
  return "";
}

std::vector<std::string> load_table(const OptionList& list, const toml::table& table,
                                    std::string_view source) {
  std::multimap<uint32_t, std::string> by_line;  // a table is sorted by key; people read by line
  std::vector<std::string> set;
  for (const auto& [key, node] : table) {
    const std::string problem = load_key(list, key.str(), node, set);
    if (!problem.empty()) by_line.emplace(key.source().begin.line, problem);
  }
  Problems problems;
  for (const auto& [line, problem] : by_line)
    problems.add(std::string(source) + ":" + std::to_string(line), problem);
  problems.throw_if_any("recipe");
  return set;
}

// What stands right of '=' for each type.
std::string literal(const std::string& value) {
  std::ostringstream out;
  out << toml::value<std::string>(value);
  return out.str();
}
std::string literal(bool value) { return value ? "true" : "false"; }
std::string literal(int64_t value) { return std::to_string(value); }
std::string literal(double value) {
  std::ostringstream out;
  out << toml::value<double>(value);
  return out.str();
}
template <class T>
std::string literal(const std::vector<T>& values) {
  std::vector<std::string> items;
  for (const auto& value : values) items.push_back(literal(value));
  return "[" + join(items, ", ") + "]";
}

// A required or restricted string that was not given: no value stands for "none" there.
bool not_given(const Option& option) {
  const auto* text = std::get_if<std::string*>(&option.value);
  return text != nullptr && (*text)->empty() && (option.required || !option.choices.empty());
}

}  // namespace

std::vector<std::string> load_toml_text(const OptionList& list, std::string_view text,
                                        std::string_view source) {
  check_toml_text(text, "recipe: " + std::string(source));
  try {
    return load_table(list, toml::parse(text), source);
  } catch (const toml::parse_error& error) {
    throw UsageError("recipe: " + std::string(source) + ":" +
                     std::to_string(error.source().begin.line) + ": " +
                     std::string(error.description()));
  }
}

std::vector<std::string> load_toml(const OptionList& list, const std::filesystem::path& file) {
  std::string text;
  try {
    text = read_text_file(file, kRecipeCap);
  } catch (const DataError& error) {
    // A recipe is configuration, not data.
    throw UsageError("recipe: " + std::string(error.what()));
  }
  return load_toml_text(list, text, file.string());
}

std::string to_toml(const OptionList& list) {
  std::string out;
  for (const auto& option : list.options()) {
    std::string help = option.help;
    if (!option.choices.empty()) help += " (" + join(option.choices, ", ") + ")";
    for (char& c : help)
      if (c == '\n') c = ' ';
    out += "# " + help + "\n" + (not_given(option) ? "# " : "") + option.name + " = ";
    out += std::visit([](auto* value) { return literal(*value); }, option.value);
    out += "\n";
  }
  return out;
}

}  // namespace parapet

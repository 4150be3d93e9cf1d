#include "parapet/guard/toml_reader.h"

#include <algorithm>
#include <cmath>

#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/core/toml_checks.h"

namespace parapet::guard {
namespace {

std::string range(double low, double high) {
  const auto show = [](double value) {
    return value == std::floor(value) && std::abs(value) < 1e15
               ? std::to_string(static_cast<int64_t>(value))
               : format_number(value, 3);
  };
  return "must be between " + show(low) + " and " + show(high);
}

}  // namespace

void TomlMistakes::throw_if_any(std::string_view what) const {
  if (lines_.empty()) return;
  std::string text = std::string(what) + " has " + std::to_string(lines_.size()) +
                     (lines_.size() == 1 ? " mistake:" : " mistakes:");
  for (const auto& [line, message] : lines_)
    text += "\n  " + source_ + ":" + std::to_string(line) + ": " + message;
  throw UsageError(text);
}

toml::table parse_toml(std::string_view text, std::string_view source) {
  check_toml_text(text, source);
  try {
    return toml::parse(text, std::string(source));
  } catch (const toml::parse_error& error) {
    throw UsageError(std::string(source) + ":" + std::to_string(error.source().begin.line) +
                     ": not valid TOML: " + std::string(error.description()));
  }
}

std::string name_hint(std::string_view name, const std::vector<std::string>& known) {
  const std::string close = closest_name(name, known);
  if (!close.empty()) return "; did you mean '" + close + "'?";
  if (known.empty() || known.size() > 24) return "";
  return "; known: " + join(known, ", ");
}

std::string TomlTable::name(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

uint32_t TomlTable::line(std::string_view key) const {
  for (const auto& [name, node] : *table_)
    if (name.str() == key) return name.source().begin.line;
  return std::max<uint32_t>(1, table_->source().begin.line);
}

void TomlTable::mistake(std::string_view key, std::string_view message) {
  mistakes_->add(line(key), "'" + name(key) + "' " + std::string(message));
}

const toml::node* TomlTable::find(std::string_view key) {
  known_.emplace(key);
  return table_->get(key);
}

void TomlTable::require(std::string_view key) {
  if (find(key) == nullptr) mistake(key, "is missing");
}

bool TomlTable::read(std::string_view key, bool& value) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  const auto given = node->value_exact<bool>();
  if (!given) {
    mistake(key, "must be true or false");
    return false;
  }
  value = *given;
  return true;
}

bool TomlTable::read(std::string_view key, int64_t& value, int64_t low, int64_t high) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  const auto given = node->value_exact<int64_t>();
  if (!given || *given < low || *given > high) {
    mistake(key, given ? range(static_cast<double>(low), static_cast<double>(high))
                       : "must be an integer");
    return false;
  }
  value = *given;
  return true;
}

bool TomlTable::read(std::string_view key, double& value, double low, double high) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  const auto given = node->is_number() ? node->value<double>() : std::nullopt;
  if (!given || !(*given >= low && *given <= high)) {
    mistake(key, given ? range(low, high) : "must be a number");
    return false;
  }
  value = *given;
  return true;
}

bool TomlTable::read(std::string_view key, std::string& value, size_t max_bytes) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  const auto given = node->value_exact<std::string>();
  if (!given || given->size() > max_bytes || given->find('\0') != std::string::npos) {
    mistake(key, given ? "is too long or holds a zero byte" : "must be a string");
    return false;
  }
  value = *given;
  return true;
}

bool TomlTable::read(std::string_view key, std::vector<std::string>& value) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  std::vector<std::string> items;
  if (const toml::array* array = node->as_array()) {
    for (const toml::node& item : *array)
      if (const auto text = item.value_exact<std::string>()) items.push_back(*text);
    if (items.size() == array->size()) {
      value = std::move(items);
      return true;
    }
  }
  mistake(key, "must be a list of strings");
  return false;
}

bool TomlTable::read(std::string_view key, std::vector<int64_t>& value, int64_t low, int64_t high) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  std::vector<int64_t> items;
  if (const toml::array* array = node->as_array()) {
    for (const toml::node& item : *array) {
      const auto number = item.value_exact<int64_t>();
      if (number && *number >= low && *number <= high) items.push_back(*number);
    }
    if (items.size() == array->size()) {
      value = std::move(items);
      return true;
    }
  }
  mistake(key,
          "must be a list of integers from " + std::to_string(low) + " to " + std::to_string(high));
  return false;
}

bool TomlTable::read(std::string_view key, std::vector<double>& value, size_t count, double low,
                     double high) {
  const toml::node* node = find(key);
  if (node == nullptr) return false;
  std::vector<double> items;
  if (const toml::array* array = node->as_array()) {
    for (const toml::node& item : *array) {
      const auto number = item.is_number() ? item.value<double>() : std::nullopt;
      if (number && *number >= low && *number <= high) items.push_back(*number);
    }
    if (items.size() == array->size() && items.size() == count &&
        std::is_sorted(items.begin(), items.end())) {
      value = std::move(items);
      return true;
    }
  }
  mistake(key, "must be a list of " + std::to_string(count) + " rising numbers, each " +
                   range(low, high).substr(8));
  return false;
}

int TomlTable::read_choice(std::string_view key, const std::vector<std::string>& choices) {
  const toml::node* node = find(key);
  if (node == nullptr) return -1;
  const auto given = node->value_exact<std::string>();
  const auto it = given ? std::find(choices.begin(), choices.end(), *given) : choices.end();
  if (it != choices.end()) return static_cast<int>(it - choices.begin());
  mistake(key, "must be one of: " + join(choices, ", "));
  return -1;
}

const toml::table* TomlTable::table(std::string_view key) {
  const toml::node* node = find(key);
  if (node == nullptr) return nullptr;
  if (!node->is_table()) mistake(key, "must be a table: [" + name(key) + "]");
  return node->as_table();
}

std::vector<const toml::table*> TomlTable::tables(std::string_view key) {
  const toml::node* node = find(key);
  std::vector<const toml::table*> found;
  if (node == nullptr) return found;
  if (const toml::array* array = node->as_array())
    for (const toml::node& item : *array)
      if (item.is_table()) found.push_back(item.as_table());
  if (!node->is_array() || found.size() != node->as_array()->size()) {
    mistake(key, "must be tables: [[" + name(key) + "]]");
    found.clear();
  }
  return found;
}

std::vector<std::pair<std::string, const toml::table*>> TomlTable::named_tables(
    std::string_view key) {
  std::vector<std::pair<std::string, const toml::table*>> found;
  const toml::table* group = table(key);
  if (group == nullptr) return found;
  for (const auto& [name_of, node] : *group) {
    if (node.is_table())
      found.emplace_back(std::string(name_of.str()), node.as_table());
    else
      mistakes_->add(name_of.source().begin.line,
                     "'" + name(key) + "." + std::string(name_of.str()) + "' must be a table");
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return a.second->source().begin.line < b.second->source().begin.line;
  });
  return found;
}

void TomlTable::finish() {
  const std::vector<std::string> known(known_.begin(), known_.end());
  for (const auto& [key, node] : *table_) {
    if (known_.contains(key.str())) continue;
    mistakes_->add(key.source().begin.line,
                   "unknown key '" + name(key.str()) + "'" + name_hint(key.str(), known));
  }
}

}  // namespace parapet::guard

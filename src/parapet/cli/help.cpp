#include "parapet/cli/help.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "parapet/core/strings.h"

namespace parapet::cli {
namespace {

constexpr size_t kWidth = 100;
constexpr size_t kColumn = 30;  // where explanations start

// `text` broken at spaces so that every line, indented by `indent`, fits; the first is not
// indented.
std::string wrapped(const std::string& text, size_t indent) {
  std::string out, line;
  for (const auto& word : split(text, ' ')) {
    if (!line.empty() && indent + line.size() + 1 + word.size() > kWidth) {
      out += line + "\n" + std::string(indent, ' ');
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return out + line;
}

std::string row(const std::string& left, const std::string& right, size_t column) {
  std::string text = "  " + left;
  if (text.size() + 2 > column) {
    text += "\n" + std::string(column, ' ');
  } else {
    text.resize(column, ' ');
  }
  return text + wrapped(right, column) + "\n";
}

std::string value_hint(const Option& option) {
  static constexpr const char* kNames[] = {"", "INT", "NUMBER", "TEXT", "TEXT,..", "NUMBER,.."};
  if (!option.choices.empty()) return join(option.choices, "|");
  return kNames[option.value.index()];
}

std::string default_hint(const Option& option) {
  nlohmann::json value;
  std::visit([&](auto* v) { value = *v; }, option.value);
  if (value.is_boolean()) return value.get<bool>() ? " [on]" : "";
  if (value.empty() || value == "") return "";
  if (value.is_string()) return " [" + value.get<std::string>() + "]";
  if (!value.is_array()) return " [" + value.dump() + "]";
  std::vector<std::string> items;
  for (const auto& item : value)
    items.push_back(item.is_string() ? item.get<std::string>() : item.dump());
  return " [" + join(items, ",") + "]";
}

std::string option_row(const Option& option) {
  std::string left = "--" + option.name;
  if (const auto* flag = std::get_if<bool*>(&option.value)) {
    if (**flag) left = "--[no-]" + option.name;
  } else {
    left += " " + value_hint(option);
  }
  return row(left, option.help + (option.required ? "" : default_hint(option)), kColumn);
}

std::string section(const std::string& title, const std::vector<std::string>& rows) {
  return rows.empty() ? "" : "\n" + title + "\n" + join(rows, "");
}

}  // namespace

std::string command_help(const CommandEntry& entry, const OptionList& own,
                         const OptionList& common) {
  std::vector<std::string> required, optional, shared;
  std::string usage = "Usage: parapet " + entry.path;
  for (const auto& option : own.options()) {
    (option.required ? required : optional).push_back(option_row(option));
    if (option.required) usage += " --" + option.name + " " + value_hint(option);
  }
  shared.push_back(
      row("--config FILE", "TOML recipe with flags' names as keys; flags win over it", kColumn));
  shared.push_back(row("--print-config", "print the resolved recipe and stop", kColumn));
  for (const auto& option : common.options()) shared.push_back(option_row(option));
  shared.push_back(row("--help", "this text", kColumn));
  std::string text = entry.summary + "\n\n" + usage + " [flags]\n";
  if (!entry.help.empty()) text += "\n" + std::string(trim(entry.help)) + "\n";
  return text + section("Required flags", required) + section("Flags", optional) +
         section("Flags of every command", shared);
}

std::string group_help(const std::vector<CommandEntry>& entries, const std::string& prefix) {
  std::vector<const CommandEntry*> shown;
  for (const auto& entry : entries)
    if (prefix.empty() || entry.path.rfind(prefix + " ", 0) == 0) shown.push_back(&entry);
  size_t column = 0;
  for (const auto* entry : shown) column = std::max(column, entry->path.size() + 4);
  std::vector<std::string> rows;
  for (const auto* entry : shown) rows.push_back(row(entry->path, entry->summary, column));
  std::string text;
  if (prefix.empty()) text = "Parapet: harden, attack, guard and filter multimodal models.\n\n";
  text += "Usage: parapet " + (prefix.empty() ? "<command>" : prefix + " <command>") + " [flags]\n";
  text += section("Commands", rows);
  return text + "\nparapet <command> --help explains a command; parapet --version the version.\n";
}

}  // namespace parapet::cli

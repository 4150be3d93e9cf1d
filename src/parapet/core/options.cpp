#include "parapet/core/options.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/strings.h"

namespace parapet {
namespace {

std::string canonical(std::string_view name) {
  std::string text(name);
  for (char& c : text)
    if (c == '_') c = '-';
  return text;
}

std::string quoted(const Option& option, std::string_view text) {
  return "--" + option.name + ": '" + std::string(text) + "'";
}

template <class T>
T number(const Option& option, std::string_view text, const char* expected) {
  T value{};
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size())
    throw UsageError(quoted(option, text) + " is not " + expected);
  return value;
}

void parse(const Option& option, std::string_view text, bool& value) {
  if (text != "true" && text != "false")
    throw UsageError(quoted(option, text) + " is not true or false");
  value = text == "true";
}

void parse(const Option& option, std::string_view text, int64_t& value) {
  value = number<int64_t>(option, text, "an integer");
}

void parse(const Option& option, std::string_view text, double& value) {
  const auto parsed = number<double>(option, text, "a number");
  check_number(option, parsed);
  value = parsed;
}

void parse(const Option& option, std::string_view text, std::string& value) {
  check_choice(option, text);
  value = text;
}

template <class T>
void parse(const Option& option, std::string_view text, std::vector<T>& values) {
  std::vector<T> parsed;
  for (const auto& item : split(text, ',')) {
    if (item.empty()) continue;
    parse(option, item, parsed.emplace_back());
  }
  values = std::move(parsed);
}

}  // namespace

const Option* OptionList::find(std::string_view name) const {
  const std::string wanted = canonical(name);
  for (const auto& option : options_)
    if (option.name == wanted) return &option;
  return nullptr;
}

std::string OptionList::closest(std::string_view name) const {
  std::vector<std::string> names;
  for (const auto& option : options_) names.push_back(option.name);
  return closest_name(canonical(name), names);
}

void Problems::add(std::string_view field, std::string_view message) {
  lines_.push_back(std::string(field) + ": " + std::string(message));
}

void Problems::throw_if_any(std::string_view what) const {
  if (lines_.empty()) return;
  if (lines_.size() == 1) throw UsageError(std::string(what) + ": " + lines_[0]);
  throw UsageError(std::string(what) + ": " + std::to_string(lines_.size()) + " problems\n  " +
                   join(lines_, "\n  "));
}

void set_option(const Option& option, std::string_view text) {
  std::visit([&](auto* value) { parse(option, text, *value); }, option.value);
}

nlohmann::json to_json(const OptionList& list) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& option : list.options())
    std::visit([&](auto* value) { json[option.name] = *value; }, option.value);
  return json;
}

}  // namespace parapet

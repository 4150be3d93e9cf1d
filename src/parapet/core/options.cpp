#include "parapet/core/options.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <sstream>
#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

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

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

void check_choice(const Option& option, const std::string& value) {
  if (option.choices.empty()) return;
  for (const auto& choice : option.choices)
    if (choice == value) return;
  throw UsageError("--" + option.name + ": '" + value + "' is not one of " +
                   join(option.choices, ", "));
}

double parse_double(const Option& option, std::string_view text) {
  double value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size())
    throw UsageError("--" + option.name + ": '" + std::string(text) + "' is not a number");
  return value;
}

bool assign(const Option& option, const toml::node& node) {
  return std::visit(Overloaded{
                        [&](bool* v) {
                          auto x = node.value_exact<bool>();
                          if (x) *v = *x;
                          return x.has_value();
                        },
                        [&](int64_t* v) {
                          auto x = node.value_exact<int64_t>();
                          if (x) *v = *x;
                          return x.has_value();
                        },
                        [&](double* v) {
                          auto x = node.is_number() ? node.value<double>() : std::nullopt;
                          if (x) *v = *x;
                          return x.has_value();
                        },
                        [&](std::string* v) {
                          auto x = node.value_exact<std::string>();
                          if (x) check_choice(option, *x);
                          if (x) *v = *x;
                          return x.has_value();
                        },
                        [&](std::vector<std::string>* v) {
                          const auto* array = node.as_array();
                          if (array == nullptr) return false;
                          std::vector<std::string> out;
                          for (const auto& item : *array) {
                            auto x = item.value_exact<std::string>();
                            if (!x) return false;
                            check_choice(option, *x);
                            out.push_back(*x);
                          }
                          *v = std::move(out);
                          return true;
                        },
                        [&](std::vector<double>* v) {
                          const auto* array = node.as_array();
                          if (array == nullptr) return false;
                          std::vector<double> out;
                          for (const auto& item : *array) {
                            auto x = item.is_number() ? item.value<double>() : std::nullopt;
                            if (!x) return false;
                            out.push_back(*x);
                          }
                          *v = std::move(out);
                          return true;
                        },
                    },
                    option.value);
}

std::string type_name(const Option& option) {
  static constexpr const char* kNames[] = {"true or false",     "an integer",
                                           "a number",          "a string",
                                           "a list of strings", "a list of numbers"};
  return kNames[option.value.index()];
}

std::vector<std::string> load_table(const OptionList& list, const toml::table& table,
                                    std::string_view source) {
  Problems problems;
  std::vector<std::string> set;
  for (const auto& [key, node] : table) {
    const std::string where = std::string(source) + ":" + std::to_string(key.source().begin.line);
    const Option* option = list.find(key.str());
    if (option == nullptr) {
      const std::string hint = list.closest(key.str());
      problems.add(where, "unknown option '" + std::string(key.str()) + "'" +
                              (hint.empty() ? "" : ", did you mean '" + hint + "'?"));
      continue;
    }
    try {
      if (assign(*option, node)) {
        set.push_back(option->name);
      } else {
        problems.add(where, "'" + option->name + "' must be " + type_name(*option));
      }
    } catch (const UsageError& error) {
      problems.add(where, error.what());
    }
  }
  problems.throw_if_any("recipe");
  return set;
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

std::vector<std::string> load_toml(const OptionList& list, const std::filesystem::path& file) {
  try {
    return load_table(list, toml::parse_file(file.string()), file.string());
  } catch (const toml::parse_error& error) {
    throw UsageError(file.string() + ":" + std::to_string(error.source().begin.line) + ": " +
                     std::string(error.description()));
  }
}

std::vector<std::string> load_toml_text(const OptionList& list, std::string_view text,
                                        std::string_view source) {
  try {
    return load_table(list, toml::parse(text), source);
  } catch (const toml::parse_error& error) {
    throw UsageError(std::string(source) + ":" + std::to_string(error.source().begin.line) + ": " +
                     std::string(error.description()));
  }
}

void set_option(const Option& option, std::string_view text) {
  std::visit(Overloaded{
                 [&](bool* v) {
                   if (text != "true" && text != "false")
                     throw UsageError("--" + option.name + ": expected true or false");
                   *v = text == "true";
                 },
                 [&](int64_t* v) {
                   int64_t value = 0;
                   auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
                   if (ec != std::errc() || end != text.data() + text.size())
                     throw UsageError("--" + option.name + ": '" + std::string(text) +
                                      "' is not an integer");
                   *v = value;
                 },
                 [&](double* v) { *v = parse_double(option, text); },
                 [&](std::string* v) {
                   check_choice(option, std::string(text));
                   *v = text;
                 },
                 [&](std::vector<std::string>* v) {
                   v->clear();
                   for (auto& item : split(text, ',')) {
                     check_choice(option, item);
                     if (!item.empty()) v->push_back(std::move(item));
                   }
                 },
                 [&](std::vector<double>* v) {
                   v->clear();
                   for (const auto& item : split(text, ','))
                     v->push_back(parse_double(option, item));
                 },
             },
             option.value);
}

std::string to_toml(const OptionList& list) {
  std::ostringstream out;
  for (const auto& option : list.options()) {
    out << "# " << option.help;
    if (!option.choices.empty()) out << " (" << join(option.choices, ", ") << ")";
    out << "\n" << option.name << " = ";
    std::visit(Overloaded{
                   [&](bool* v) { out << (*v ? "true" : "false"); },
                   [&](int64_t* v) { out << *v; },
                   [&](double* v) { out << toml::value<double>(*v); },
                   [&](std::string* v) { out << toml::value<std::string>(*v); },
                   [&](std::vector<std::string>* v) {
                     toml::array array;
                     for (const auto& item : *v) array.push_back(item);
                     out << array;
                   },
                   [&](std::vector<double>* v) {
                     toml::array array;
                     for (double item : *v) array.push_back(item);
                     out << array;
                   },
               },
               option.value);
    out << "\n";
  }
  return out.str();
}

nlohmann::json to_json(const OptionList& list) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& option : list.options())
    std::visit([&](auto* v) { json[option.name] = *v; }, option.value);
  return json;
}

}  // namespace parapet

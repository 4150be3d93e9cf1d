// Options: one `visit` per struct lists (name, reference, help); the listing feeds the TOML recipe,
// command line flags, --help, --print-config and the run record.
//
//   struct TrainOptions {
//     double lr = 1e-3;  // peak learning rate, > 0
//     void visit(OptionList& list) { list.add("lr", lr, "peak learning rate"); }
//     void validate(Problems& problems) const { problems.require(lr > 0, "lr", "must be > 0"); }
//   };
//
// Names are flat and use '-'; recipes may write '_' instead.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/core/option.h"

namespace parapet {

class OptionList {
 public:
  template <class T>
  Option& add(std::string_view name, T& value, std::string_view help,
              std::vector<std::string> choices = {}) {
    options_.push_back(
        {std::string(name), Option::Value(&value), std::string(help), std::move(choices), false});
    return options_.back();
  }
  // As add, but a value must be given.
  template <class T>
  Option& require(std::string_view name, T& value, std::string_view help) {
    Option& option = add(name, value, help);
    option.required = true;
    return option;
  }
  const std::vector<Option>& options() const { return options_; }
  // Null when there is none; '_' equals '-'.
  const Option* find(std::string_view name) const;
  // The nearest known name for a mistyped one, empty when nothing is close.
  std::string closest(std::string_view name) const;

 private:
  std::vector<Option> options_;
};

// Collects every problem of a configuration, to report them together.
class Problems {
 public:
  void add(std::string_view field, std::string_view message);
  // A whole line, e.g. the message of another error.
  void add(std::string_view line) { lines_.emplace_back(line); }
  void require(bool ok, std::string_view field, std::string_view message) {
    if (!ok) add(field, message);
  }
  bool empty() const { return lines_.empty(); }
  // Throws UsageError listing all problems, nothing when there are none.
  void throw_if_any(std::string_view what) const;

 private:
  std::vector<std::string> lines_;
};

// Sets options from a TOML file. UsageError lists every unknown key (with the closest name) and
// every wrong type. Returns the names that were set.
std::vector<std::string> load_toml(const OptionList& list, const std::filesystem::path& file);
// `source` names the text in errors.
std::vector<std::string> load_toml_text(const OptionList& list, std::string_view text,
                                        std::string_view source);
// Parses one value as a flag would give it ("true", "3", "0.1", "a,b"). UsageError when it cannot.
void set_option(const Option& option, std::string_view text);
// The resolved configuration as TOML, in listing order; loads back with load_toml. A required or
// restricted string that was not given is commented out.
std::string to_toml(const OptionList& list);
nlohmann::json to_json(const OptionList& list);

}  // namespace parapet

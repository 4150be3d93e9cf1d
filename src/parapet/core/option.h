// One option of a command or a recipe, and what its values are held to.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace parapet {

struct Option {
  using Value = std::variant<bool*, int64_t*, double*, std::string*, std::vector<std::string>*,
                             std::vector<double>*>;
  std::string name;  // without dashes, e.g. "batch-size"
  Value value;       // the default on entry; overwritten by recipe, then flags
  std::string help;
  std::vector<std::string> choices;  // for strings; empty = any
  bool required = false;
};

// UsageError when the option has choices and `value` is none of them.
void check_choice(const Option& option, std::string_view value);
// UsageError for NaN.
void check_number(const Option& option, double value);

}  // namespace parapet

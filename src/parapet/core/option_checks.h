// Checks of one value that flags and recipes share; a detail of options.cpp and options_toml.cpp.
#pragma once
#include <string_view>

#include "parapet/core/options.h"

namespace parapet {

// UsageError when the option has choices and `value` is none of them.
void check_choice(const Option& option, std::string_view value);
// UsageError for NaN.
void check_number(const Option& option, double value);

}  // namespace parapet

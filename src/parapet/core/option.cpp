#include "parapet/core/option.h"

#include <cmath>

#include "parapet/core/error.h"
#include "parapet/core/strings.h"

namespace parapet {

void check_choice(const Option& option, std::string_view value) {
  if (option.choices.empty()) return;
  for (const auto& choice : option.choices)
    if (choice == value) return;
  throw UsageError("--" + option.name + ": '" + std::string(value) + "'" + " is not one of " +
                   join(option.choices, ", "));
}

void check_number(const Option& option, double value) {
  // NaN would pass every range check of the form `x < low`.
  if (std::isnan(value)) throw UsageError("--" + option.name + ": NaN is not a value");
}

}  // namespace parapet

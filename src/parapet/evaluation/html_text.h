// Text into HTML, and numbers as the report shows them.
#pragma once
#include <string>
#include <string_view>

#include "parapet/metrics/estimate.h"

namespace parapet {

// Escapes & < > " '; control characters other than newline and tab become spaces.
std::string html_escape(std::string_view text);

// A share as "96.7 %", a cosine as "0.986"; "-" without items.
std::string format_value(const Estimate& estimate, bool cosine);
// "95.5 - 97.7" in the same unit; empty without items or width.
std::string format_interval(const Estimate& estimate, bool cosine);
// Whether a metric or row of this name is a cosine rather than a share.
bool is_cosine(std::string_view name);

}  // namespace parapet

// Entries of lists that can hardly be meant as they stand: they would look for nothing.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "parapet/guard/policy.h"

namespace parapet::guard {

// What is wrong with an entry and what to write instead; empty = nothing. A regex is assumed to be
// valid (Pattern::problem says so). `max_text_bytes` is the policy's limit on texts.
std::string entry_problem(const WordListOptions& list, std::string_view entry,
                          int64_t max_text_bytes);

}  // namespace parapet::guard

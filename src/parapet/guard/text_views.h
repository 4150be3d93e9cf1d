// Ways to read a text that hides its words: look-alikes replaced, leetspeak resolved, spaced
// letters joined. Each view keeps the way back to the original bytes.
#pragma once
#include <string_view>
#include <vector>

#include "parapet/guard/fold.h"

namespace parapet::guard {

struct TextView {
  const char* name;  // plain, lookalike, accents, leet, spaced
  Folded chars;
  bool whole = false;  // matches must cover a whole run between spaces (short entries)
  bool accents_folded = false;
};

// The plain view first; the others only where they differ from it.
std::vector<TextView> text_views(std::string_view text, bool with_accents);

}  // namespace parapet::guard

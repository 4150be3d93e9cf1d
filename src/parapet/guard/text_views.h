// Ways to read a text that hides its words: look-alikes replaced, leetspeak resolved, spaced
// letters joined. Each view keeps the way back to the original bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "parapet/guard/fold.h"

namespace parapet::guard {

struct TextView {
  const char* name;  // plain, lookalike, accents, leet, spaced, reversed, tags, lines
  Folded chars;
  bool whole = false;  // matches must cover a whole run between spaces (short entries)
  bool accents_folded = false;
  // Views for phrases (entries of several words) hold every word of the text, the disguised ones
  // as they read. A match takes in `marks_needed` characters that were disguised, so that digits
  // alone never make one. Empty in the other views.
  std::vector<uint8_t> disguised = {};
  size_t marks_needed = 0;
  // Of a view without blanks, in which phrases are looked for without theirs: where words begin.
  std::vector<uint8_t> begins = {};
  bool for_phrases() const { return marks_needed > 0; }
};

// The plain view first; the others only where they differ from it, those for phrases on request.
std::vector<TextView> text_views(std::string_view text, bool with_accents,
                                 bool with_phrases = false);

// "b a d", "b.a.d", "b - a - d": single letters with little between them. The characters of each
// run, three or more.
std::vector<std::vector<size_t>> spaced_runs(const Folded& chars);
// `out` gets the views for phrases of a text whose look-alikes are replaced already.
void add_phrase_views(const Folded& chars, bool accents_folded, std::vector<TextView>& out);

}  // namespace parapet::guard

// Ways to read a text that hides its words: look-alikes replaced, leetspeak resolved, spaced
// letters joined. Each view keeps the way back to the original bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/guard/fold.h"

namespace parapet::guard {

constexpr uint8_t kWideSign = 2;
constexpr size_t kMinSpaced = 3;  // single letters that make a spaced word
// Signs that end a sentence rather than stand for letters.
inline bool ends_sentence(char32_t c) { return c == '!' || c == '|' || c == '+' || c == U'¡'; }

struct TextView {
  const char*
      name;  // plain, lookalike, accents, leet, spaced, reversed, tags, lines, parted, signs
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

// What a digit or sign stands for among the letters of [first, last): Latin or Cyrillic, as most of
// them are. 0 = nothing.
class Leet {
 public:
  Leet(const Folded& chars, size_t first, size_t last);
  char32_t letter(char32_t c, bool second) const {
    return cyrillic_ ? cyrillic_leet_letter(c, second) : leet_letter(c, second);
  }

 private:
  bool cyrillic_ = false;
};

// Whether [first, last) is a word written with digits and signs, rather than a number with letters
// ("A55", "v4.5.5"): letters at all, and not fewer than digits. A digit that is repeated three
// times or more counts once.
bool reads_as_letters(const Folded& chars, const std::vector<size_t>& members);

// The plain view first; the others only where they differ from it, those for phrases on request.
std::vector<TextView> text_views(std::string_view text, bool with_accents,
                                 bool with_phrases = false);

// "b a d", "b.a.d", "b - a - d": single letters with little between them. The characters of each
// run, three or more; runs that read as numbers are left out.
std::vector<std::vector<size_t>> spaced_runs(const Folded& chars);
// `out` gets the views for phrases of a text whose look-alikes are replaced already.
void add_phrase_views(const Folded& chars, bool accents_folded, std::vector<TextView>& out);
// `chars` with one blank for what stands between two words in place of one: a hyphen or dash of any
// kind, an underscore, slash, bar, bullet or emoji, and sentence signs with no blank beside them.
// `disguised` is kWideSign at a sign with blanks beside it. Empty when there is none.
TextView with_signs_as_blanks(const Folded& chars);
// "bo mb", "k nife": a word cut by blanks so that a piece has no vowel and can be no word. A view
// without blanks, with `begins`, of the stretches that hold such pieces; empty when there are none.
TextView across_blanks(const Folded& chars);
// The text with a blank of the same length for each invisible character, so that "bad<ZWSP>word" is
// also read as two words. Empty when it has none.
std::string invisible_as_blanks(std::string_view text);

}  // namespace parapet::guard

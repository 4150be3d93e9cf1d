// Text as a reader sees it: one case, one width, no invisible characters, no stacked marks; every
// character remembers the bytes it came from.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace parapet::guard {

struct FoldedChar {
  char32_t c;
  uint32_t begin, end;  // bytes of the original text
};
using Folded = std::vector<FoldedChar>;

// `text` is valid UTF-8 below 4 GiB. NFKC case folding; default-ignorable characters dropped; marks
// that compose to no letter dropped in scripts that read without them (Latin, Greek, Cyrillic,
// Arabic, Hebrew); white space is ' ' and never doubled; every apostrophe and single quote is '.
Folded fold(std::string_view text);

// kThai stands for the South-East Asian scripts that write without spaces, kIndic for those of
// India. Digits, signs and scripts that are used only to disguise Latin are kOther.
enum class Script {
  kOther,
  kLatin,
  kGreek,
  kCyrillic,
  kArmenian,
  kHan,
  kHiragana,
  kKatakana,
  kHangul,
  kThai,
  kHebrew,
  kArabic,
  kIndic,
  kGeorgian,
  kEthiopic,
};
Script script_of(char32_t c);
// Latin, Greek, Cyrillic and Armenian share shapes: one of their letters may stand for another's.
bool shares_shapes(Script script);
// A letter of a script that no other is mistaken for: a Latin word directly beside it is a word.
bool is_distinct_script(char32_t c);
// Letters, digits and marks.
bool is_word_char(char32_t c);
bool is_letter(char32_t c);
// Letters of valid UTF-8.
size_t count_letters(std::string_view text);
bool is_mark(char32_t c);
// The letter without its accent, itself where it has none (Latin, Greek, Cyrillic).
char32_t without_accent(char32_t c);
// The Latin letter that looks the same; 0 = none. Of folded characters.
char32_t latin_lookalike(char32_t c);
// Of a capital, before folding, where it looks like another letter than the small one.
char32_t latin_lookalike_of_capital(char32_t c);
char32_t cyrillic_lookalike(char32_t c);
// The Latin letter without its stroke (ø, đ, ł); 0 = it has none.
char32_t without_stroke(char32_t c);
// What a digit or sign stands for in leetspeak; 0 = nothing. `second` = the other reading of 1 | !.
char32_t leet_letter(char32_t c, bool second);
// The same among Cyrillic letters.
char32_t cyrillic_leet_letter(char32_t c, bool second);

}  // namespace parapet::guard

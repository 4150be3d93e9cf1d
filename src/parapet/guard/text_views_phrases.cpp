// Views for phrases: one disguised word among plain ones.
#include <string>
#include <string_view>

#include "parapet/guard/text_views.h"

namespace parapet::guard {
namespace {

bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }
bool is_apostrophe(char32_t c) { return c == '\'' || c == U'’' || c == U'ʼ' || c == '`'; }

// "1st", "10km", "80s": a number and what it counts. "b3", "A4", "5G": the name of something.
bool is_numeral(const Folded& chars, size_t first, size_t last) {
  static constexpr std::string_view kUnits =
      " st nd rd th am pm km cm mm kg mg ml px kb mb gb tb hz khz mhz ghz mph kmh kwh min mins sec "
      "secs hr hrs day days lb lbs oz ft in yr yrs usd eur ";
  std::string letters = " ";
  bool digits_first = true, digits = false;
  for (size_t i = first; i < last; ++i) {
    const char32_t c = chars[i].c;
    if (is_letter(c)) letters.push_back(c < 0x80 ? static_cast<char>(c) : '?');
    if (!is_digit(c)) continue;
    digits = true;
    digits_first = digits_first && letters.size() == 1;
  }
  if (!digits) return false;
  return letters.size() == 2 ||
         (digits_first && kUnits.find(letters + " ") != std::string_view::npos);
}

struct Chunk {
  size_t first, last;  // between blanks
  size_t begin, end;   // without the signs around the word
  bool changed = false, disguised = false;
};

Chunk read_chunk(const Folded& chars, size_t first, size_t last) {
  Chunk chunk{first, last, first, last};
  const Leet reading(chars, first, last);
  const auto stands = [&](size_t i) {
    return is_word_char(chars[i].c) || reading.letter(chars[i].c, false) != 0;
  };
  while (chunk.end > first && (ends_sentence(chars[chunk.end - 1].c) || !stands(chunk.end - 1)))
    --chunk.end;
  while (chunk.begin < chunk.end && !stands(chunk.begin)) ++chunk.begin;
  bool letter = false, leet = false, sign = false;
  for (size_t i = chunk.begin; i < chunk.end; ++i) {
    const char32_t c = chars[i].c;
    letter = letter || is_letter(c);
    leet = leet || reading.letter(c, false) != 0;
    // A hyphen or dot inside a word; "he'll" and "and/or" are what they are.
    sign = sign || (!stands(i) && !is_apostrophe(c) && c != '/');
  }
  chunk.changed = leet || (letter && sign);
  chunk.disguised = chunk.changed && letter && !is_numeral(chars, chunk.begin, chunk.end);
  return chunk;
}

// Leetspeak and dots inside words resolved, every other word as it is. False without a disguise:
// numbers are read as letters too, but count for nothing.
bool resolve_leet(const Folded& chars, bool second, TextView& out) {
  bool any = false;
  const auto keep = [&](const FoldedChar& one, bool disguised) {
    out.chars.push_back(one);
    out.disguised.push_back(disguised);
  };
  for (size_t i = 0; i < chars.size();) {
    if (chars[i].c == ' ') {
      keep(chars[i++], false);
      continue;
    }
    size_t last = i;
    while (last < chars.size() && chars[last].c != ' ') ++last;
    const Chunk chunk = read_chunk(chars, i, last);
    any = any || chunk.disguised;
    const Leet leet(chars, i, last);
    for (; i < last; ++i) {
      const bool inside = chunk.changed && i >= chunk.begin && i < chunk.end;
      const char32_t like = inside ? leet.letter(chars[i].c, second) : 0;
      const bool dropped = inside && like == 0 && !is_word_char(chars[i].c) &&
                           !is_apostrophe(chars[i].c) && chars[i].c != '/';
      if (dropped) continue;
      keep({like != 0 ? like : chars[i].c, chars[i].begin, chars[i].end},
           inside && chunk.disguised);
    }
  }
  return any;
}

// Spaced letters joined, all blanks left out: where the words of "i w i l l" end is for the phrase
// to say.
void join_spaced(const Folded& chars, TextView& out) {
  std::vector<uint8_t> member(chars.size(), 0), inside(chars.size(), 0);
  for (const auto& run : spaced_runs(chars)) {
    for (size_t i = run.front(); i <= run.back(); ++i) inside[i] = 1;
    for (const size_t i : run) member[i] = 1;
  }
  const Leet leet(chars, 0, chars.size());
  bool begins = true;
  for (size_t i = 0; i < chars.size(); ++i) {
    const bool gap = chars[i].c == ' ' || (inside[i] != 0 && member[i] == 0);
    if (gap) {
      begins = true;
      continue;
    }
    FoldedChar one = chars[i];
    if (const char32_t like = member[i] != 0 ? leet.letter(one.c, false) : 0; like != 0)
      one.c = like;
    out.chars.push_back(one);
    out.disguised.push_back(member[i]);
    out.begins.push_back(begins);
    begins = false;
  }
}

}  // namespace

void add_phrase_views(const Folded& chars, bool accents_folded, std::vector<TextView>& out) {
  for (const bool second : {false, true}) {
    TextView view{.name = "leet", .chars = {}, .accents_folded = accents_folded};
    view.marks_needed = 1;
    if (resolve_leet(chars, second, view)) out.push_back(std::move(view));
  }
  if (spaced_runs(chars).empty()) return;
  TextView view{.name = "spaced", .chars = {}, .accents_folded = accents_folded};
  view.marks_needed = kMinSpaced;
  join_spaced(chars, view);
  out.push_back(std::move(view));
}

}  // namespace parapet::guard

#include "parapet/guard/word_index.h"

#include <algorithm>

#include "parapet/guard/text_hit.h"

namespace parapet::guard {
namespace {

constexpr size_t kMinSpacedInside = 4;   // letters an entry needs to match inside joined letters
constexpr uint16_t kStretch = 3;         // equal letters in a row that no language writes
constexpr size_t kMinStretchedLeet = 4;  // different letters in a row
constexpr size_t kMinMasked = 4, kMaxMasked = 32;
constexpr size_t kMinMaskedInPhrase = 3;  // the words beside it speak too
constexpr size_t kMaxFillings = 4;        // words that a masked one may stand for
constexpr size_t kMinJoined = 6;          // letters a phrase needs to match without its blanks
constexpr size_t kMinWideSigns = 8;       // or with " - " between its words, or no apostrophe
constexpr size_t kMinPartedWord = 4;      // letters a word needs to match across blanks
constexpr size_t kMinPart = 3;            // of a hyphenated entry that is also looked for as one

bool writes_without_spaces(Script script) {
  return script == Script::kHan || script == Script::kHiragana || script == Script::kKatakana ||
         script == Script::kThai;
}

// Whether a word may end between `left` and `right`. `short_entry`: too short to stand in a run of
// a script without spaces.
bool is_boundary(char32_t left, char32_t right, bool short_entry) {
  if (!is_word_char(left) || !is_word_char(right)) return true;
  if (is_mark(right)) return false;
  const Script a = script_of(left), b = script_of(right);
  // "bomb를": a Latin word beside another script ends there. Digits and scripts that pass for Latin
  // are kOther.
  if (a != b && (is_distinct_script(left) || is_distinct_script(right)) &&
      !writes_without_spaces(a) && !writes_without_spaces(b))
    return a == Script::kHangul || b == Script::kHangul ||
           (a != Script::kOther && b != Script::kOther);
  if (!writes_without_spaces(a) && !writes_without_spaces(b)) return false;
  if (a != b) return !short_entry || !writes_without_spaces(a) || !writes_without_spaces(b);
  // A run of katakana is one (foreign) word.
  return !short_entry && a != Script::kKatakana;
}

// One Han or katakana character, three of hiragana or Thai, are parts of other words more often
// than words.
bool is_short(const std::u32string& letters) {
  const auto count =
      std::count_if(letters.begin(), letters.end(), [](char32_t c) { return is_letter(c); });
  if (letters.empty() || !writes_without_spaces(script_of(letters[0]))) return false;
  const Script script = script_of(letters[0]);
  return count < (script == Script::kHan || script == Script::kKatakana ? 2 : 4);
}

// Whether the letters that run on from `at` (away from a word of `script`) are of a script that
// shares its shapes, and at least one of them cannot stand for a letter of it: "bombкупить" is two
// words, but the first letter of a class may be Cyrillic by mistake.
bool is_other_alphabet(const Folded& chars, size_t at, bool forward, Script script) {
  const Script other = script_of(chars[at].c);
  if (other == script || !shares_shapes(other) || !shares_shapes(script)) return false;
  for (size_t i = at; i < chars.size() && script_of(chars[i].c) == other; i += forward ? 1 : -1) {
    const char32_t like =
        script == Script::kCyrillic ? cyrillic_lookalike(chars[i].c) : latin_lookalike(chars[i].c);
    if (is_letter(chars[i].c) && like == 0) return true;
  }
  return false;
}

// Whether [begin, end) of `chars` is a word as far as the entry asks. A Korean noun carries its
// particles, so only its beginning is checked.
bool stands_alone(const Folded& chars, size_t begin, size_t end, const WordIndex::Entry& entry) {
  if (entry.inside_words) return true;
  const bool short_entry = is_short(entry.letters);
  if (begin > 0 && !is_boundary(chars[begin - 1].c, chars[begin].c, short_entry) &&
      !is_other_alphabet(chars, begin - 1, false, script_of(chars[begin].c)))
    return false;
  if (end >= chars.size() || is_boundary(chars[end - 1].c, chars[end].c, short_entry) ||
      is_other_alphabet(chars, end, true, script_of(chars[end - 1].c)))
    return true;
  return entry.letters.size() >= 3 && script_of(chars[end - 1].c) == Script::kHangul &&
         script_of(chars[end].c) == Script::kHangul;
}

bool is_star(char32_t c) { return c == U'*' || c == U'#' || c == U'•'; }

bool is_hyphen(char32_t c) {
  static constexpr std::u32string_view kHyphens = U"-‐‒–—―−_/·・•|⁃";
  return kHyphens.find(c) != std::u32string_view::npos;
}

// Other ways to write an entry. "a-hole" is not looked for as "a hole".
std::vector<std::u32string> other_spellings(const std::u32string& letters) {
  std::vector<std::u32string> out;
  std::vector<std::u32string> parts(1);
  bool hyphens = false, words = true;
  for (size_t i = 0; i < letters.size(); ++i) {
    if (is_hyphen(letters[i])) {
      hyphens = true;
      parts.emplace_back();
    } else {
      parts.back().push_back(letters[i]);
      words = words && (is_word_char(letters[i]) || letters[i] == U' ' || letters[i] == U'\'');
    }
  }
  size_t shortest = SIZE_MAX, longest = 0;
  bool vowel = false;
  std::u32string apart, joined;
  for (const std::u32string& part : parts) {
    shortest = std::min(shortest, part.size());
    longest = std::max(longest, part.size());
    vowel = vowel || (part.size() == 1 &&
                      std::u32string_view(U"aeiouy").find(part[0]) != std::u32string_view::npos);
    if (!apart.empty()) apart.push_back(U' ');
    apart += part;
    joined += part;
  }
  const bool single = longest == 1;
  if (hyphens && words && shortest > 0) {
    if (single || !vowel) out.push_back(apart);
    if ((single && joined.size() >= kMinPartedWord) ||
        (shortest >= kMinPart && joined.size() >= kMinJoined))
      out.push_back(joined);
  }
  for (const std::u32string& phrase : out.empty() ? std::vector{letters} : std::vector{apart}) {
    std::u32string bare = phrase;
    std::erase(bare, U'\'');
    if (bare != phrase && bare.find(U' ') != std::u32string::npos && bare.size() > kMinWideSigns)
      out.push_back(bare);
  }
  return out;
}

bool is_phrase(const WordIndex::Entry& entry) {
  return entry.letters.find(U' ') != std::u32string::npos;
}

std::vector<uint16_t> squeeze(const std::u32string& letters, std::u32string& squeezed) {
  std::vector<uint16_t> runs;
  squeezed.clear();
  for (const char32_t c : letters) {
    if (!squeezed.empty() && squeezed.back() == c) {
      runs.back() = static_cast<uint16_t>(std::min(runs.back() + 1, 60'000));
    } else {
      squeezed.push_back(c);
      runs.push_back(1);
    }
  }
  return runs;
}

TextHit make_hit(const WordIndex::Entry& entry, const Folded& chars, size_t begin, size_t end,
                 const char* view) {
  const FoldedChar &first = chars[begin], &last = chars[end - 1];  // swapped where text runs back
  return {entry.list, entry.entry, std::min(first.begin, last.begin), std::max(first.end, last.end),
          view};
}

}  // namespace

void WordIndex::add(const Folded& phrase, Entry entry) {
  size_t first = 0, last = phrase.size();
  while (first < last && phrase[first].c == ' ') ++first;
  while (last > first && phrase[last - 1].c == ' ') --last;
  for (size_t i = first; i < last; ++i) entry.letters.push_back(phrase[i].c);
  if (entry.letters.empty()) return;
  if (!entry.plain_only)
    for (std::u32string& spelling : other_spellings(entry.letters)) {
      Entry other = entry;
      other.letters = std::move(spelling);
      add_letters(std::move(other));
    }
  add_letters(std::move(entry));
}

void WordIndex::add_letters(Entry entry) {
  const auto id = static_cast<int32_t>(entries_.size());
  exact_.add(entry.letters, id);
  if (entry.fold_accents) {
    std::u32string bare = entry.letters;
    for (char32_t& c : bare) c = without_accent(c);
    if (bare != entry.letters) exact_.add(bare, id);
  }
  const bool words_only = std::all_of(entry.letters.begin(), entry.letters.end(), [](char32_t c) {
    return c == ' ' || (is_letter(c) && !writes_without_spaces(script_of(c)));
  });
  if (!entry.plain_only) {
    if (words_only) {
      std::u32string squeezed;
      entry.runs = squeeze(entry.letters, squeezed);
      stretched_.add(squeezed, id);
    }
    index_words(entry, id);
  }
  entries_.push_back(std::move(entry));
}

void WordIndex::index_words(const Entry& entry, int32_t id) {
  const std::u32string& letters = entry.letters;
  std::u32string joined;
  for (size_t begin = 0; begin < letters.size();) {
    const size_t end = std::min(letters.find(U' ', begin), letters.size());
    const bool word = std::all_of(
        letters.begin() + static_cast<std::ptrdiff_t>(begin),
        letters.begin() + static_cast<std::ptrdiff_t>(end),
        [](char32_t c) { return is_letter(c) && !writes_without_spaces(script_of(c)); });
    const std::u32string part = letters.substr(begin, end - begin);
    if (word && !is_phrase(entry)) {
      words_[{part.size(), part[0]}].push_back(id);
    } else if (word) {
      phrase_words_[{part.size(), part[0]}].insert(part);
    }
    joined += part;
    begin = end + 1;
  }
  if (!is_phrase(entry)) return;
  phrases_ = true;
  if (joined.size() >= kMinJoined) joined_.add(joined, id);
}

void WordIndex::build() {
  exact_.build();
  stretched_.build();
  joined_.build();
}

void WordIndex::find(const TextView& view, std::vector<TextHit>& hits) const {
  if (view.for_phrases()) return find_phrases(view, hits);
  if (!view.begins.empty()) return find_parted(view, hits);
  const bool plain = view.name == std::string_view("plain");
  const Folded& chars = view.chars;
  exact_.find(chars, [&](int32_t id, size_t begin, size_t end) {
    const Entry& entry = entries_[static_cast<size_t>(id)];
    if (!plain && entry.plain_only) return;
    if (view.accents_folded && !entry.fold_accents) return;
    // Words that stand beside each other there may be far apart in the text.
    if (view.whole && is_phrase(entry)) return;
    if (view.whole) {
      const bool run =
          (begin == 0 || chars[begin - 1].c == ' ') && (end == chars.size() || chars[end].c == ' ');
      const bool inside = (view.name == std::string_view("spaced") || entry.inside_words) &&
                          entry.letters.size() >= kMinSpacedInside;
      if (!run && !inside) return;
    } else if (!stands_alone(chars, begin, end, entry)) {
      return;
    }
    hits.push_back(make_hit(entry, chars, begin, end, view.name));
  });
  if (!view.accents_folded) find_stretched(view, hits);
  if (!view.whole && !view.accents_folded) find_masked(chars, hits);
  if (plain && phrases_) find_masked_phrases(chars, hits);
}

// "baaaad": some letter three times or more in a row, where the entry has it less often.
void WordIndex::find_stretched(const TextView& view, std::vector<TextHit>& hits) const {
  if (stretched_.empty()) return;
  const Folded& chars = view.chars;
  Folded squeezed;
  std::vector<uint16_t> runs;
  bool any = false;
  for (const FoldedChar& one : chars) {
    if (!squeezed.empty() && squeezed.back().c == one.c) {
      squeezed.back().end = one.end;
      runs.back() = static_cast<uint16_t>(std::min(runs.back() + 1, 60'000));
      any = any || (runs.back() >= kStretch && is_letter(one.c));
    } else {
      squeezed.push_back(one);
      runs.push_back(1);
    }
  }
  if (!any) return;
  stretched_.find(squeezed, [&](int32_t id, size_t begin, size_t end) {
    const Entry& entry = entries_[static_cast<size_t>(id)];
    // Of leetspeak only longer words: "a555" is the name of something.
    if (view.whole && (is_phrase(entry) || end - begin < kMinStretchedLeet)) return;
    bool stretched = false;
    for (size_t i = begin; i < end; ++i) {
      const uint16_t wanted = entry.runs[i - begin], found = runs[i];
      if (found != wanted && !(found >= kStretch && found > wanted)) return;
      stretched = stretched || found > wanted;
    }
    if (stretched && stands_alone(squeezed, begin, end, entry))
      hits.push_back(make_hit(entry, squeezed, begin, end, "stretched"));
  });
}

namespace {

bool fits(const Folded& chars, size_t begin, const std::u32string& letters) {
  for (size_t k = 0; k < letters.size(); ++k)
    if (chars[begin + k].c != letters[k] && !is_star(chars[begin + k].c)) return false;
  return true;
}

// Words with stars for at most half of their letters, first and last letter shown.
template <class Visit>
void for_each_masked(const Folded& chars, size_t min_length, const Visit& visit) {
  for (size_t i = 0; i < chars.size();) {
    size_t end = i;
    size_t stars = 0;
    while (end < chars.size() && (is_letter(chars[end].c) || is_star(chars[end].c))) {
      stars += is_star(chars[end].c);
      ++end;
    }
    const size_t length = end - i;
    if (stars > 0 && length >= min_length && length <= kMaxMasked && stars * 2 <= length &&
        !is_star(chars[i].c) && !is_star(chars[end - 1].c))
      visit(i, end);
    i = std::max(end, i + 1);
  }
}

}  // namespace

// "b*d".
void WordIndex::find_masked(const Folded& chars, std::vector<TextHit>& hits) const {
  for_each_masked(chars, kMinMasked, [&](size_t begin, size_t end) {
    const auto alike = words_.find({end - begin, chars[begin].c});
    if (alike == words_.end()) return;
    for (const int32_t id : alike->second) {
      const Entry& entry = entries_[static_cast<size_t>(id)];
      if (!fits(chars, begin, entry.letters)) continue;
      hits.push_back(make_hit(entry, chars, begin, end, "masked"));
      break;
    }
  });
}

// "i w*ll": the masked words filled in with words of the phrases that fit, then read as a whole.
void WordIndex::find_masked_phrases(const Folded& chars, std::vector<TextHit>& hits) const {
  struct Filling {
    size_t begin;
    std::vector<const std::u32string*> words;
  };
  std::vector<Filling> fillings;
  size_t variants = 0;
  for_each_masked(chars, kMinMaskedInPhrase, [&](size_t begin, size_t end) {
    const auto alike = phrase_words_.find({end - begin, chars[begin].c});
    if (alike == phrase_words_.end()) return;
    Filling filling{begin, {}};
    for (const std::u32string& word : alike->second)
      if (filling.words.size() < kMaxFillings && fits(chars, begin, word))
        filling.words.push_back(&word);
    if (filling.words.empty()) return;
    variants = std::max(variants, filling.words.size());
    fillings.push_back(std::move(filling));
  });
  if (fillings.empty()) return;
  TextView view{.name = "masked", .chars = chars};
  view.marks_needed = 1;
  view.disguised.assign(chars.size(), 0);
  for (size_t variant = 0; variant < variants; ++variant) {
    for (const Filling& filling : fillings) {
      const std::u32string& word = *filling.words[variant % filling.words.size()];
      for (size_t k = 0; k < word.size(); ++k) {
        view.chars[filling.begin + k].c = word[k];
        view.disguised[filling.begin + k] = 1;
      }
    }
    find_phrases(view, hits);
  }
}

// "bo mb": whole pieces that make a word together, one of them without a vowel.
void WordIndex::find_parted(const TextView& view, std::vector<TextHit>& hits) const {
  const auto& begins = view.begins;
  exact_.find(view.chars, [&](int32_t id, size_t begin, size_t end) {
    const Entry& entry = entries_[static_cast<size_t>(id)];
    if (entry.plain_only || is_phrase(entry) || entry.letters.size() < kMinPartedWord) return;
    if (begins[begin] == 0) return;
    if (end < begins.size() && begins[end] == 0 && view.chars[end].c != ' ') return;
    const auto at = [](const std::vector<uint8_t>& of, size_t i) {
      return of.begin() + static_cast<std::ptrdiff_t>(i);
    };
    if (std::count(at(begins, begin), at(begins, end), uint8_t{1}) < 2) return;
    if (std::count(at(view.disguised, begin), at(view.disguised, end), uint8_t{1}) == 0) return;
    hits.push_back(make_hit(entry, view.chars, begin, end, view.name));
  });
}

// Phrases with disguised words among plain ones.
void WordIndex::find_phrases(const TextView& view, std::vector<TextHit>& hits) const {
  const Folded& chars = view.chars;
  const bool joined = !view.begins.empty();
  const auto word_ends = [&](size_t at) {  // between at - 1 and at, in a view without blanks
    return at == 0 || at >= chars.size() || view.begins[at] != 0 || !is_word_char(chars[at].c) ||
           !is_word_char(chars[at - 1].c);
  };
  const PhraseIndex& index = joined ? joined_ : exact_;
  index.find(chars, [&](int32_t id, size_t begin, size_t end) {
    const Entry& entry = entries_[static_cast<size_t>(id)];
    if (entry.plain_only || !is_phrase(entry)) return;
    if (view.accents_folded && !entry.fold_accents) return;
    if (joined ? !word_ends(begin) || !word_ends(end) : !stands_alone(chars, begin, end, entry))
      return;
    const auto disguised = [&](uint8_t how) {
      return std::count(view.disguised.begin() + static_cast<std::ptrdiff_t>(begin),
                        view.disguised.begin() + static_cast<std::ptrdiff_t>(end), how);
    };
    if (entry.letters.size() <= kMinWideSigns && disguised(kWideSign) > 0) return;
    if (static_cast<size_t>(disguised(1) + disguised(kWideSign)) >= view.marks_needed)
      hits.push_back(make_hit(entry, chars, begin, end, view.name));
  });
}

}  // namespace parapet::guard

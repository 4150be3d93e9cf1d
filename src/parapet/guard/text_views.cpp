#include "parapet/guard/text_views.h"

#include <algorithm>
#include <utility>

#include "parapet/core/utf8.h"

namespace parapet::guard {
namespace {

using namespace std::string_view_literals;

constexpr size_t kMaxGap = 3;  // characters between spaced letters

bool same(const Folded& a, const Folded& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const FoldedChar& x, const FoldedChar& y) { return x.c == y.c; });
}

// Calls `visit(first, last)` for each run between spaces; a script that Latin is never mistaken for
// ends a run, as it ends a word.
template <class Visit>
void for_each_chunk(const Folded& chars, const Visit& visit) {
  for (size_t i = 0; i < chars.size();) {
    if (chars[i].c == ' ') {
      ++i;
      continue;
    }
    size_t end = i;
    const bool distinct = is_distinct_script(chars[i].c);
    while (end < chars.size() && chars[end].c != ' ' &&
           (is_distinct_script(chars[end].c) == distinct || is_mark(chars[end].c)))
      ++end;
    visit(i, end);
    i = end;
  }
}

struct ScriptCount {
  size_t latin = 0, cyrillic = 0, greek = 0, other = 0;
  void add(char32_t c) {
    switch (script_of(c)) {
      case Script::kLatin:
        ++latin;
        break;
      case Script::kCyrillic:
        ++cyrillic;
        break;
      case Script::kGreek:
        ++greek;
        break;
      default:
        if (is_letter(c)) ++other;
    }
  }
};

// Replaces look-alikes in words that mix scripts, and in words made of look-alikes only when the
// text around them is in the target script. A plain Russian word stays Russian. Capitals are looked
// up in `text`, where their shape still shows.
Folded with_lookalikes(std::string_view text, const Folded& chars, const ScriptCount& all,
                       bool to_latin) {
  Folded out = chars;
  const auto lookalike = [&](const FoldedChar& one) {
    if (!to_latin) return cyrillic_lookalike(one.c);
    if (script_of(one.c) == Script::kGreek) {
      size_t at = one.begin;
      if (const char32_t like = latin_lookalike_of_capital(next_code_point(text, at)); like)
        return like;
    }
    return latin_lookalike(one.c);
  };
  const bool target_dominates = to_latin ? all.latin > all.cyrillic + all.greek + all.other
                                         : all.cyrillic > all.latin + all.greek + all.other;
  for (size_t i = 0; i < out.size();) {
    if (!is_word_char(out[i].c)) {
      ++i;
      continue;
    }
    size_t end = i;
    ScriptCount word;
    size_t foreign = 0, replaceable = 0, alphabets = 0;
    const bool distinct = is_distinct_script(out[i].c);
    for (; end < out.size() && is_word_char(out[end].c); ++end) {
      const char32_t c = out[end].c;
      if (is_distinct_script(c) != distinct && !is_mark(c)) break;
      word.add(c);
      const bool target = script_of(c) == (to_latin ? Script::kLatin : Script::kCyrillic);
      const char32_t like = lookalike(out[end]);
      if (is_letter(c) && (!target || (to_latin && like != 0))) {
        ++foreign;
        alphabets += script_of(c) != Script::kOther;
        replaceable += like != 0;
      }
    }
    const size_t own = to_latin ? word.latin : word.cyrillic;
    const bool mixed = foreign > 0 && own > 0;
    // Scripts that hardly anybody writes otherwise.
    const bool rare = to_latin && alphabets == 0;
    if (foreign > 0 && replaceable == foreign && (mixed || rare || target_dominates)) {
      for (size_t k = i; k < end; ++k) {
        const char32_t like = lookalike(out[k]);
        if (like != 0) out[k].c = like;
      }
    }
    i = std::max(end, i + 1);
  }
  return out;
}

// Letters whose pairs make flags.
bool is_regional(char32_t c) { return c >= 0x1F1E6 && c <= 0x1F1FF; }

// Leetspeak and dots inside words: "b.4-d" is "bad". Whole runs only, and only those with a letter.
Folded without_leet(const Folded& chars, bool second) {
  Folded out;
  std::vector<size_t> members;
  for_each_chunk(chars, [&](size_t first, size_t last) {
    const Leet leet(chars, first, last);
    bool changed = false;
    // Signs that end a sentence are signs, not letters.
    size_t end = last;
    while (end > first && ends_sentence(chars[end - 1].c)) --end;
    members.clear();
    for (size_t i = first; i < last; ++i) {
      const bool stands = leet.letter(chars[i].c, second) != 0;
      changed = changed || stands || !is_word_char(chars[i].c);
      if (i < end && (stands || is_word_char(chars[i].c))) members.push_back(i);
    }
    if (!changed || !reads_as_letters(chars, members)) return;
    if (!out.empty()) out.push_back({' ', chars[first].begin, chars[first].begin});
    for (const size_t i : members) {
      const char32_t like = leet.letter(chars[i].c, second);
      out.push_back({like != 0 ? like : chars[i].c, chars[i].begin, chars[i].end});
    }
  });
  return out;
}

// The letters of spaced words, a run as one word.
Folded joined_letters(const Folded& chars) {
  Folded out;
  for (const auto& run : spaced_runs(chars)) {
    if (!out.empty()) out.push_back({' ', chars[run[0]].begin, chars[run[0]].begin});
    const Leet leet(chars, run.front(), run.back() + 1);
    for (const size_t i : run) {
      const char32_t like = leet.letter(chars[i].c, false);
      out.push_back({like != 0 ? like : chars[i].c, chars[i].begin, chars[i].end});
    }
  }
  return out;
}

constexpr std::string_view kReversed = "\u202E", kAsBefore = "\u202C";

// "\u202Edab" is shown as "bad": what stands between the marks, read as it is shown.
Folded as_shown(std::string_view text, Folded chars) {
  for (size_t at = text.find(kReversed); at != std::string_view::npos;) {
    const size_t next = text.find(kReversed, at + 1);
    // Within the stretch only, so that many marks are read once.
    const std::string_view stretch = text.substr(at, next - at);
    const size_t end = at + std::min({stretch.find(kAsBefore), stretch.find('\n'), stretch.size()});
    const auto before = [](const FoldedChar& one, size_t offset) { return one.begin < offset; };
    const auto first = std::lower_bound(chars.begin(), chars.end(), at, before);
    const auto last = std::lower_bound(first, chars.end(), end, before);
    std::reverse(first, last);
    at = next;
  }
  return chars;
}

// "ba-\nd": a word parted at the end of a line.
Folded across_lines(std::string_view text, const Folded& chars) {
  Folded out;
  for (size_t i = 0; i < chars.size(); ++i) {
    const bool parted =
        chars[i].c == '-' && i > 0 && is_letter(chars[i - 1].c) && i + 2 < chars.size() &&
        is_letter(chars[i + 2].c) && chars[i + 1].c == ' ' &&
        text.substr(chars[i + 1].begin, chars[i + 1].end - chars[i + 1].begin).find('\n') !=
            std::string_view::npos;
    if (parted)
      ++i;  // and the line's end
    else
      out.push_back(chars[i]);
  }
  return out;
}

// Letters spelled in tag characters: nobody sees them, but a model reads them.
Folded hidden_letters(std::string_view text) {
  Folded out;
  for (size_t at = text.find("\U000E0020"sv.substr(0, 2)); at < text.size();) {
    const size_t begin = at;
    const char32_t c = next_code_point(text, at);
    const bool tag = c >= 0xE0020 && c <= 0xE007E;
    const auto from = static_cast<uint32_t>(begin), to = static_cast<uint32_t>(at);
    const char32_t letter = tag ? c - 0xE0000 : U' ';
    if (tag && letter != U' ')
      out.push_back({letter >= U'A' && letter <= U'Z' ? letter + 32 : letter, from, to});
    else if (!out.empty() && out.back().c != U' ')
      out.push_back({U' ', from, to});
  }
  return out;
}

// Phrases whose words are parted by a sign, by something invisible, or by both.
void add_parted_phrases(std::string_view text, const Folded& chars, std::vector<TextView>& views) {
  const auto add = [&](TextView apart) {
    if (apart.chars.empty()) return;
    add_phrase_views(apart.chars, false, views);
    views.push_back(std::move(apart));
  };
  add(with_signs_as_blanks(chars));
  const std::string visible = invisible_as_blanks(text);
  if (visible.empty()) return;
  TextView apart{.name = "signs", .chars = fold(visible)};
  apart.marks_needed = 1;
  apart.disguised.assign(apart.chars.size(), 1);
  TextView signs = with_signs_as_blanks(apart.chars);
  add(signs.chars.empty() ? std::move(apart) : std::move(signs));
}

}  // namespace

Leet::Leet(const Folded& chars, size_t first, size_t last) {
  int balance = 0;
  for (size_t i = first; i < last; ++i) {
    const Script script =
        chars[i].c < 0x80 && !is_letter(chars[i].c) ? Script::kOther : script_of(chars[i].c);
    balance += script == Script::kCyrillic ? 1 : script == Script::kLatin ? -1 : 0;
  }
  cyrillic_ = balance > 0;
}

bool reads_as_letters(const Folded& chars, const std::vector<size_t>& members) {
  size_t letters = 0, digits = 0;
  bool any = false;
  for (size_t k = 0; k < members.size(); ++k) {
    const char32_t c = chars[members[k]].c;
    any = any || is_letter(c) || is_regional(c);
    if (c < U'0' || c > U'9') {
      ++letters;
      continue;
    }
    const bool repeated = k >= 2 && chars[members[k - 1]].c == c && chars[members[k - 2]].c == c;
    if (!repeated)
      ++digits;
    else if (k == 2 || chars[members[k - 3]].c != c)
      --digits;  // the third: the two before it counted once
  }
  return any && digits <= letters;
}

std::vector<std::vector<size_t>> spaced_runs(const Folded& chars) {
  std::vector<std::vector<size_t>> runs;
  std::vector<size_t> run;
  const auto flush = [&] {
    if (run.size() >= kMinSpaced && reads_as_letters(chars, run)) runs.push_back(run);
    run.clear();
  };
  size_t gap = 0;
  for (size_t i = 0; i < chars.size(); ++i) {
    const char32_t c = chars[i].c;
    const bool sign = !is_word_char(c);
    const auto edge = [&](size_t k) { return k >= chars.size() || !is_word_char(chars[k].c); };
    const auto blank = [&](size_t k) { return k >= chars.size() || chars[k].c == ' '; };
    const bool alone = sign ? leet_letter(c, false) != 0 && blank(i - 1) && blank(i + 1)
                            : edge(i - 1) && edge(i + 1);  // i - 1 wraps at the start: an edge
    if (alone) {
      if (gap > kMaxGap) flush();
      run.push_back(i);
      gap = 0;
    } else if (sign) {
      ++gap;
    } else {
      flush();
      gap = 0;
    }
  }
  flush();
  return runs;
}

std::vector<TextView> text_views(std::string_view text, bool with_accents, bool with_phrases) {
  std::vector<TextView> views;
  views.push_back({"plain", fold(text), false, false});
  const auto add = [&](const char* name, Folded chars, bool whole, bool accents) {
    if (chars.empty()) return;
    for (const TextView& view : views)
      if (!view.for_phrases() && same(view.chars, chars) && view.whole == whole) return;
    views.push_back({name, std::move(chars), whole, accents});
  };
  ScriptCount all;
  bool accents = false, ascii = true;
  for (const FoldedChar& one : views[0].chars) {
    if (one.c < 0x80) {
      all.latin += is_letter(one.c);
      continue;
    }
    ascii = false;
    all.add(one.c);
    accents = accents || without_accent(one.c) != one.c;
  }
  Folded latin = views[0].chars;
  if (!ascii) {
    latin = with_lookalikes(text, views[0].chars, all, true);
    add("lookalike", latin, false, false);
    if (all.cyrillic > 0) {
      const Folded cyrillic = with_lookalikes(text, views[0].chars, all, false);
      add("lookalike", cyrillic, false, false);
      add("leet", without_leet(cyrillic, false), true, false);
      add("leet", without_leet(cyrillic, true), true, false);
      add("spaced", joined_letters(cyrillic), true, false);
      if (with_phrases && !same(cyrillic, latin)) add_phrase_views(cyrillic, false, views);
    }
  }
  if (text.find(kReversed) != std::string_view::npos)
    add("reversed", as_shown(text, latin), false, false);
  add("tags", hidden_letters(text), false, false);
  if (text.find("-\n") != std::string_view::npos || text.find("-\r\n") != std::string_view::npos)
    add("lines", across_lines(text, latin), false, false);
  add("leet", without_leet(latin, false), true, false);
  add("leet", without_leet(latin, true), true, false);
  add("spaced", joined_letters(latin), true, false);
  if (TextView parted = across_blanks(latin); !parted.chars.empty())
    views.push_back(std::move(parted));
  if (with_phrases) {
    add_phrase_views(latin, false, views);
    add_parted_phrases(text, latin, views);
  }
  if (with_accents && accents) {
    for (FoldedChar& one : latin) one.c = without_accent(one.c);
    add("accents", latin, false, true);
    add("accents", without_leet(latin, false), true, true);
    if (with_phrases) add_phrase_views(latin, true, views);
  }
  return views;
}

}  // namespace parapet::guard

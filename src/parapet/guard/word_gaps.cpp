// Words that stand closer or further apart than they should: signs and invisible characters in
// place of blanks, blanks inside words.
#include <algorithm>
#include <string_view>

#include "parapet/guard/text_views.h"

namespace parapet::guard {
namespace {

constexpr size_t kMaxSigns = 8;  // between two words
constexpr size_t kMaxBare = 4;   // letters of a piece without a vowel

bool is_vowel(char32_t c) {
  static constexpr std::u32string_view kVowels = U"aeiouyаеёиоуыэюяіїє";
  // Accented letters are taken for vowels, as most of them are.
  return kVowels.find(c) != std::u32string_view::npos || without_accent(c) != c;
}

bool is_sentence_sign(char32_t c) {
  static constexpr std::u32string_view kSigns = U".,:;?!'\"()[]{}<>«»“”„…‥–—―。、，！？：；「」";
  return kSigns.find(c) != std::u32string_view::npos;
}

bool is_joining(Script script) {  // scripts whose words are letters between blanks
  return shares_shapes(script) || script == Script::kOther;
}

struct Invisible {
  std::string_view bytes, blank;
};

// Blanks of the same number of bytes, so that places in the text stay what they are.
constexpr std::string_view kTwo = "\u00A0", kThree = "\u2003";
constexpr Invisible kInvisible[] = {
    {"\u00AD", kTwo},   {"\u034F", kTwo},   {"\u061C", kTwo},   {"\u180E", kThree},
    {"\u200B", kThree}, {"\u200C", kThree}, {"\u200D", kThree}, {"\u200E", kThree},
    {"\u200F", kThree}, {"\u2060", kThree}, {"\u2061", kThree}, {"\u2062", kThree},
    {"\u2063", kThree}, {"\u2064", kThree}, {"\uFEFF", kThree}, {"\u115F", kThree},
    {"\u1160", kThree}, {"\u3164", kThree}, {"\uFFA0", kThree},
};

}  // namespace

TextView with_signs_as_blanks(const Folded& chars) {
  TextView view{.name = "signs", .chars = {}};
  view.marks_needed = 1;
  Folded& out = view.chars;
  out.reserve(chars.size());
  bool any = false;
  for (size_t i = 0; i < chars.size();) {
    if (is_word_char(chars[i].c) || i == 0 || !is_word_char(chars[i - 1].c)) {
      out.push_back(chars[i++]);
      continue;
    }
    size_t end = i, blanks = 0;
    bool sentence = false, apostrophe_only = true;
    for (; end < chars.size() && !is_word_char(chars[end].c); ++end) {
      const char32_t c = chars[end].c;
      blanks += c == ' ';
      sentence = sentence || (c != ' ' && is_sentence_sign(c));
      apostrophe_only = apostrophe_only && c == U'\'';
    }
    const bool between = end < chars.size() && end - i <= kMaxSigns && end - i > blanks;
    // "shoot, up there" is two clauses; "shoot,up" and "shoot - up" hide one thing.
    if (between && !apostrophe_only && !(sentence && blanks > 0)) {
      view.disguised.resize(out.size(), 1);
      view.disguised.push_back(blanks > 0 ? kWideSign : 1);
      out.push_back({U' ', chars[i].begin, chars[end - 1].end});
      any = true;
    } else {
      out.insert(out.end(), chars.begin() + static_cast<std::ptrdiff_t>(i),
                 chars.begin() + static_cast<std::ptrdiff_t>(end));
    }
    i = end;
  }
  if (!any) out.clear();
  view.disguised.resize(out.size(), 1);
  return view;
}

namespace {

// A word between blanks, without the signs around it.
struct Piece {
  size_t begin = 0, end = 0;
  bool letters = true;  // nothing else
  bool bare = true;     // no vowel, and no abbreviation or preposition that stands before names
};

bool is_word_without_vowel(const Folded& chars, const Piece& piece) {
  static constexpr std::u32string_view kWords =
      U" st mr mrs dr ms mt ft jr sr km cm mm kg mg ml hr hrs lb lbs tv pc cd dvd в к с б ж ";
  std::u32string word = U" ";
  for (size_t i = piece.begin; i < piece.end; ++i) word.push_back(chars[i].c);
  return kWords.find(word + U" ") != std::u32string_view::npos;
}

std::vector<Piece> pieces_of(const Folded& chars) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < chars.size();) {
    if (!is_word_char(chars[i].c)) {
      // "it's": what follows the apostrophe is no word of its own.
      const bool inside = chars[i].c == U'\'' && i > 0 && chars[i - 1].c != ' ';
      ++i;
      while (inside && i < chars.size() && chars[i].c != ' ') ++i;
      continue;
    }
    Piece piece;
    piece.begin = piece.end = i;
    for (; piece.end < chars.size() && is_word_char(chars[piece.end].c); ++piece.end) {
      const char32_t c = chars[piece.end].c;
      piece.letters = piece.letters && is_letter(c) && is_joining(script_of(c));
      piece.bare = piece.bare && !is_vowel(c);
    }
    i = piece.end;
    piece.bare = piece.bare && piece.letters && piece.end - piece.begin <= kMaxBare &&
                 !is_word_without_vowel(chars, piece);
    pieces.push_back(piece);
  }
  return pieces;
}

}  // namespace

TextView across_blanks(const Folded& chars) {
  TextView view{.name = "parted", .chars = {}};
  const std::vector<Piece> pieces = pieces_of(chars);
  if (std::none_of(pieces.begin(), pieces.end(), [](const Piece& one) { return one.bare; }))
    return view;
  const auto put = [&](const FoldedChar& one, bool begins, bool bare) {
    view.chars.push_back(one);
    view.begins.push_back(begins);
    view.disguised.push_back(bare);
  };
  for (size_t k = 0; k < pieces.size(); ++k) {
    const Piece& piece = pieces[k];
    const auto bare = [&](size_t at) { return at < pieces.size() && pieces[at].bare; };
    const bool near = bare(k) || bare(k - 1) || bare(k + 1);  // k - 1 wraps at the start
    const bool follows = k > 0 && pieces[k - 1].end + 1 == piece.begin &&
                         chars[piece.begin - 1].c == ' ' && pieces[k - 1].letters;
    if ((!near || !follows || !piece.letters) && !view.chars.empty())
      put({U' ', chars[piece.begin].begin, chars[piece.begin].begin}, false, false);
    if (!near || !piece.letters) continue;
    for (size_t i = piece.begin; i < piece.end; ++i) put(chars[i], i == piece.begin, piece.bare);
  }
  return view;
}

std::string invisible_as_blanks(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (static_cast<unsigned char>(text[i]) < 0xC2) continue;
    for (const Invisible& one : kInvisible) {
      if (!text.substr(i).starts_with(one.bytes)) continue;
      if (out.empty()) out = text;
      out.replace(i, one.bytes.size(), one.blank);
      break;
    }
  }
  return out;
}

}  // namespace parapet::guard

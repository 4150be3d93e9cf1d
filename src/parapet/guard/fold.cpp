#include "parapet/guard/fold.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "parapet/core/utf8.h"

namespace parapet::guard {
namespace {

constexpr size_t kMaxUnit = 24;  // characters of one letter with its marks; the rest are dropped

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_jamo_tail(char32_t c) { return c >= 0x1160 && c <= 0x11FF; }

bool continues_unit(char32_t c) {
  if (c < 0x300) return c == 0xAD;
  const auto* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
  return property->combining_class != 0 || property->ignorable || is_jamo_tail(c) ||
         property->category == UTF8PROC_CATEGORY_MN || property->category == UTF8PROC_CATEGORY_ME;
}

bool is_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  const auto of = category(c);
  return of == UTF8PROC_CATEGORY_ZS || of == UTF8PROC_CATEGORY_ZL || of == UTF8PROC_CATEGORY_ZP ||
         c == 0x85;
}

// What is written for an apostrophe: by telephones, by word processors, and by those who hide.
bool is_apostrophe(char32_t c) {
  switch (c) {
    case U'`':
    case U'´':
    case U'ʹ':
    case U'ʻ':
    case U'ʼ':
    case U'ʽ':
    case U'ʾ':
    case U'ʿ':
    case U'ˈ':
    case U'ˊ':
    case U'ˋ':
    case U'՚':
    case U'׳':
    case U'‘':
    case U'’':
    case U'‚':
    case U'‛':
    case U'′':
    case U'‵':
    case U'‹':
    case U'›':
    case U'❛':
    case U'❜':
    case U'ꞌ':
    case U'＇':
    case U'｀':
      return true;
    default:
      return false;
  }
}

// Scripts whose readers need no marks beside the letters.
bool reads_without_marks(char32_t base) {
  return base < 0x900 || (base >= 0x1E00 && base < 0x2000) || (base >= 0x2C60 && base < 0x2E00) ||
         (base >= 0xA640 && base < 0xA800);
}

class Folder {
 public:
  explicit Folder(std::string_view text) : text_(text) { out_.reserve(text.size()); }

  Folded run() {
    size_t pos = 0;
    while (pos < text_.size()) {
      const auto byte = static_cast<unsigned char>(text_[pos]);
      const bool plain = byte < 0x80 && (pos + 1 >= text_.size() ||
                                         static_cast<unsigned char>(text_[pos + 1]) < 0x80);
      if (plain) {
        const char32_t c = byte >= 'A' && byte <= 'Z' ? byte + 32u : byte;
        append(c, pos, pos + 1);
        ++pos;
      } else {
        unit(pos);
      }
    }
    return std::move(out_);
  }

 private:
  void append(char32_t c, size_t begin, size_t end) {
    // Letters in dark circles and squares, which compatibility folding leaves alone.
    if (c >= 0x1F150 && c <= 0x1F169) c = U'a' + (c - 0x1F150);
    if (c >= 0x1F170 && c <= 0x1F189) c = U'a' + (c - 0x1F170);
    if (is_apostrophe(c)) c = U'\'';
    if (is_space(c)) {
      if (!out_.empty() && out_.back().c == ' ') {
        out_.back().end = static_cast<uint32_t>(end);
        return;
      }
      c = ' ';
    } else if (c < 0x20 || c == 0x7F) {
      return;
    }
    out_.push_back({c, static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
  }

  // One starter with what belongs to it.
  void unit(size_t& pos) {
    const size_t begin = pos;
    std::array<char32_t, kMaxUnit> source{};
    size_t count = 0;
    source[count++] = next_code_point(text_, pos);
    while (pos < text_.size()) {
      size_t next = pos;
      const char32_t c = next_code_point(text_, next);
      if (!continues_unit(c)) break;
      if (count < kMaxUnit) source[count++] = c;
      pos = next;
    }
    // Standing alone, the acute accent would decompose into a blank with a mark.
    if (is_apostrophe(source[0])) return append(U'\'', begin, pos);
    std::array<utf8proc_int32_t, 512> buffer{};
    const auto options =
        static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD |
                                       UTF8PROC_IGNORE | UTF8PROC_STABLE);
    size_t length = 0;
    int bound_class = 0;
    for (size_t i = 0; i < count; ++i) {
      const auto room = static_cast<utf8proc_ssize_t>(buffer.size() - length);
      const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(source[i]),
                                             buffer.data() + length, room, options, &bound_class);
      if (n < 0 || n > room) break;
      length += static_cast<size_t>(n);
    }
    sort_marks(buffer.data(), length);
    const auto composed = utf8proc_normalize_utf32(
        buffer.data(), static_cast<utf8proc_ssize_t>(length),
        static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
    const auto begin_of = buffer.begin();
    // A mark that composes to no letter is no accent; neither are the others on that letter then.
    const bool disguised = composed > 1 && !is_mark(static_cast<char32_t>(buffer[0])) &&
                           std::any_of(begin_of + 1, begin_of + composed, [](utf8proc_int32_t c) {
                             return is_mark(static_cast<char32_t>(c));
                           });
    char32_t base = 0;
    for (utf8proc_ssize_t i = 0; i < composed; ++i) {
      auto c = static_cast<char32_t>(buffer[static_cast<size_t>(i)]);
      if (disguised && reads_without_marks(c)) c = without_accent(c);
      if (c == 0x640) continue;  // Arabic tatweel only stretches
      if (is_mark(c) && reads_without_marks(base)) continue;
      if (!is_mark(c)) base = c;
      append(c, begin, pos);
    }
  }

  // Canonical order; utf8proc_decompose does this, utf8proc_decompose_char cannot.
  static void sort_marks(utf8proc_int32_t* buffer, size_t length) {
    const auto ccc = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
    for (size_t i = 0; i < length;) {
      if (ccc(buffer[i]) == 0) {
        ++i;
        continue;
      }
      size_t end = i;
      while (end < length && ccc(buffer[end]) != 0) ++end;
      std::stable_sort(buffer + i, buffer + end,
                       [&](utf8proc_int32_t a, utf8proc_int32_t b) { return ccc(a) < ccc(b); });
      i = end;
    }
  }

  std::string_view text_;
  Folded out_;
};

}  // namespace

Folded fold(std::string_view text) { return Folder(text).run(); }

bool is_mark(char32_t c) {
  if (c < 0x300) return false;
  const auto of = category(c);
  return of == UTF8PROC_CATEGORY_MN || of == UTF8PROC_CATEGORY_MC || of == UTF8PROC_CATEGORY_ME;
}

bool is_letter(char32_t c) {
  if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  const auto of = category(c);
  return of >= UTF8PROC_CATEGORY_LU && of <= UTF8PROC_CATEGORY_LO;
}

size_t count_letters(std::string_view text) {
  size_t count = 0;
  for (size_t pos = 0; pos < text.size();) count += is_letter(next_code_point(text, pos));
  return count;
}

bool is_word_char(char32_t c) {
  if (c < 0x80) return is_letter(c) || (c >= '0' && c <= '9');
  const auto of = category(c);
  return (of >= UTF8PROC_CATEGORY_LU && of <= UTF8PROC_CATEGORY_ME) ||
         (of >= UTF8PROC_CATEGORY_ND && of <= UTF8PROC_CATEGORY_NO);
}

Script script_of(char32_t c) {
  const auto in = [c](char32_t first, char32_t last) { return c >= first && c <= last; };
  // With the phonetic letters and small capitals, which are a way to write Latin.
  if (c < 0x2B0 || in(0x1D00, 0x1D7F) || in(0x1E00, 0x1EFF) || in(0x2C60, 0x2C7F) ||
      in(0xA720, 0xA7FF))
    return is_letter(c) ? Script::kLatin : Script::kOther;
  if (in(0x370, 0x3FF) || in(0x1F00, 0x1FFF)) return Script::kGreek;
  if (in(0x400, 0x52F) || in(0x1C80, 0x1C8F) || in(0xA640, 0xA69F)) return Script::kCyrillic;
  if (in(0x531, 0x556) || in(0x561, 0x587)) return Script::kArmenian;
  if (in(0x5D0, 0x5F2)) return Script::kHebrew;
  if (in(0x600, 0x6FF) || in(0x750, 0x77F) || in(0x8A0, 0x8FF))
    return is_letter(c) ? Script::kArabic : Script::kOther;
  if (in(0x900, 0xDFF)) return is_letter(c) || is_mark(c) ? Script::kIndic : Script::kOther;
  if (in(0x10A0, 0x10FF) || in(0x1C90, 0x1CBF)) return Script::kGeorgian;
  if (in(0x1200, 0x139F)) return Script::kEthiopic;
  if (in(0x3041, 0x309F)) return Script::kHiragana;
  if (in(0x30A1, 0x30FF) || in(0x31F0, 0x31FF)) return Script::kKatakana;
  if (in(0x3400, 0x4DBF) || in(0x4E00, 0x9FFF) || in(0xF900, 0xFAFF) || in(0x20000, 0x323AF) ||
      c == 0x3005)
    return Script::kHan;
  if (in(0xAC00, 0xD7AF) || in(0x1100, 0x11FF)) return Script::kHangul;
  if (in(0x0E00, 0x0EFF) || in(0x1000, 0x109F) || in(0x1780, 0x17FF)) return Script::kThai;
  return Script::kOther;
}

bool shares_shapes(Script script) {
  return script == Script::kLatin || script == Script::kGreek || script == Script::kCyrillic ||
         script == Script::kArmenian;
}

bool is_distinct_script(char32_t c) {
  if (c < 0x370) return false;
  const Script script = script_of(c);
  return script != Script::kOther && !shares_shapes(script);
}

char32_t without_accent(char32_t c) {
  if (c < 0xC0) return c;
  if (const char32_t bare = without_stroke(c); bare != 0) return bare;
  const Script script = script_of(c);
  if (script != Script::kLatin && script != Script::kGreek && script != Script::kCyrillic) return c;
  std::array<utf8proc_int32_t, 16> buffer{};
  int bound_class = 0;
  const auto n = utf8proc_decompose_char(
      static_cast<utf8proc_int32_t>(c), buffer.data(), buffer.size(),
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE), &bound_class);
  return n > 0 && n <= static_cast<utf8proc_ssize_t>(buffer.size())
             ? static_cast<char32_t>(buffer[0])
             : c;
}

}  // namespace parapet::guard

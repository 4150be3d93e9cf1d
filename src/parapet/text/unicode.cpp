#include "parapet/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <bitset>
#include <memory>
#include <vector>

#include "parapet/core/utf8.h"
#include "parapet/text/unicode_versions.h"

namespace parapet::text {
namespace {

template <class Range, size_t kSize>
const Range* find_range(const Range (&ranges)[kSize], char32_t cp) {
  const Range* it =
      std::lower_bound(ranges, ranges + kSize, cp,
                       [](const Range& range, char32_t value) { return range.last < value; });
  return it != ranges + kSize && it->first <= cp ? it : nullptr;
}

template <size_t kSize>
bool in(const CodePointRange (&ranges)[kSize], char32_t cp) {
  return find_range(ranges, cp) != nullptr;
}

utf8proc_category_t category(char32_t cp) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(cp));
}

int combining_class(utf8proc_int32_t cp) { return utf8proc_get_property(cp)->combining_class; }

void append_decomposed(char32_t cp, bool compatible, std::vector<utf8proc_int32_t>& out) {
  utf8proc_int32_t buffer[32];
  int bound_class = 0;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE |
                                                      (compatible ? UTF8PROC_COMPAT : 0));
  const auto n =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(cp), buffer, 32, options, &bound_class);
  if (n < 0 || n > 32) {
    out.push_back(static_cast<utf8proc_int32_t>(cp));
    return;
  }
  out.insert(out.end(), buffer, buffer + n);
}

// Code points that NFC neither changes, nor moves, nor joins to a character before them.
class InertTable {
 public:
  InertTable() : inert_(std::make_unique<std::bitset<kLimit>>()) {
    std::vector<utf8proc_int32_t> parts;
    inert_->set();
    for (utf8proc_int32_t cp = 0; cp < static_cast<utf8proc_int32_t>(kLimit); ++cp) {
      if (cp >= 0xAC00 && cp < 0xD7A4) continue;  // Hangul syllables compose back to themselves
      if (combining_class(cp) != 0) inert_->reset(cp);
      parts.clear();
      append_decomposed(cp, false, parts);
      if (parts.size() == 1 && parts[0] == cp) continue;
      inert_->reset(cp);
      for (size_t i = 1; i < parts.size(); ++i)
        if (parts[i] < static_cast<utf8proc_int32_t>(kLimit)) inert_->reset(parts[i]);
    }
    for (int jamo = 0x1161; jamo < 0x11C3; ++jamo) inert_->reset(jamo);
  }
  bool operator()(char32_t cp) const { return cp >= kLimit || inert_->test(cp); }

 private:
  static constexpr size_t kLimit = 0x30000;  // no decompositions above
  std::unique_ptr<std::bitset<kLimit>> inert_;
};

bool already_nfc(std::string_view s) {
  // Everything below U+0300 (lead bytes up to 0xCB) is in NFC whatever surrounds it.
  const auto low = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0xCC;
  };
  if (std::all_of(s.begin(), s.end(), low)) return true;
  static const InertTable inert;
  for (size_t i = 0; i < s.size();) {
    const char32_t cp = next_code_point(s, i);
    if (cp >= 0x300 && !inert(cp)) return false;
  }
  return true;
}

// Canonical ordering: stable sort of each run of marks, so that long runs cost n log n.
void order_marks(std::vector<utf8proc_int32_t>& cps) {
  for (size_t i = 0; i < cps.size();) {
    if (combining_class(cps[i]) == 0) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < cps.size() && combining_class(cps[end]) != 0) ++end;
    std::stable_sort(cps.begin() + static_cast<ptrdiff_t>(i),
                     cps.begin() + static_cast<ptrdiff_t>(end),
                     [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    i = end;
  }
}

// Orders, composes and appends the decomposed segment, and empties it.
void append_normalized(std::vector<utf8proc_int32_t>& segment, bool compose, std::string& out) {
  order_marks(segment);
  auto count = static_cast<utf8proc_ssize_t>(segment.size());
  if (compose)
    count = utf8proc_normalize_utf32(
        segment.data(), count, static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  for (utf8proc_ssize_t i = 0; i < count; ++i)
    append_utf8(out, static_cast<char32_t>(segment[static_cast<size_t>(i)]));
  segment.clear();
}

}  // namespace

bool is_white_space(char32_t cp) {
  if (cp < 0x80) return cp == ' ' || (cp >= 9 && cp <= 13);
  return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) ||
         cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool is_number(char32_t cp) {
  const auto c = category(cp);
  return (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO) || in(kRustNumericAdded, cp);
}

bool is_combining_mark(char32_t cp) {
  const auto c = category(cp);
  const bool mark = c >= UTF8PROC_CATEGORY_MN && c <= UTF8PROC_CATEGORY_ME;
  return mark ? !in(kMarksRemoved, cp) : in(kMarksAdded, cp);
}

bool is_punctuation(char32_t cp) {
  if (cp < 0x80)
    return (cp >= '!' && cp <= '/') || (cp >= ':' && cp <= '@') || (cp >= '[' && cp <= '`') ||
           (cp >= '{' && cp <= '~');
  const auto c = category(cp);
  const bool punctuation = c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
  return punctuation ? !in(kPunctuationRemoved, cp) : in(kPunctuationAdded, cp);
}

bool is_word_character(char32_t cp) {
  const auto c = category(cp);
  // Letters, marks, decimal digits, letter numbers, connectors, joiners, and the circled and
  // squared letters that are Alphabetic.
  return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL) || c == UTF8PROC_CATEGORY_PC ||
         cp == 0x200C || cp == 0x200D || (cp >= 0x24B6 && cp <= 0x24E9) ||
         (cp >= 0x1F130 && cp <= 0x1F149) || (cp >= 0x1F150 && cp <= 0x1F169) ||
         (cp >= 0x1F170 && cp <= 0x1F189) || in(kRustWordAdded, cp);
}

void append_lowercase(std::string& out, char32_t cp) {
  if (cp == 0x130) {
    out += "i\xCC\x87";
    return;
  }
  if (const LowercaseRange* range = find_range(kLowercaseAdded, cp)) {
    append_utf8(out, static_cast<char32_t>(static_cast<int32_t>(cp) + range->offset));
    return;
  }
  append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(cp))));
}

void lowercase(std::string_view s, std::string& out) {
  out.clear();
  out.reserve(s.size());
  for (size_t i = 0; i < s.size();) {
    const char c = s[i];
    if (static_cast<unsigned char>(c) < 0x80) {
      out.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
      ++i;
    } else {
      append_lowercase(out, next_code_point(s, i));
    }
  }
}

bool normalize(std::string_view s, NormalForm form, std::string& out) {
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  if (form == NormalForm::kNfc ? already_nfc(s) : is_ascii(s)) return false;
  std::vector<utf8proc_int32_t> segment;
  segment.reserve(s.size());
  out.clear();
  out.reserve(s.size());
  for (size_t i = 0; i < s.size();) {
    const char32_t cp = next_code_point(s, i);
    if (in(kUnassignedCanonical, cp)) {
      // To the reference this is a starter that nothing combines with.
      append_normalized(segment, compose, out);
      append_utf8(out, cp);
    } else if (compatible && in(kUnassignedCompatible, cp)) {
      segment.push_back(static_cast<utf8proc_int32_t>(cp));
    } else {
      append_decomposed(cp, compatible, segment);
    }
  }
  append_normalized(segment, compose, out);
  return true;
}

}  // namespace parapet::text

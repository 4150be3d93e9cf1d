// Oniguruma (Ruby syntax, Unicode) to PCRE2: shorthand classes differ, and nested classes do not
// exist there.
#include <cstdio>

#include "parapet/core/error.h"
#include "parapet/text/regex.h"
#include "parapet/text/unicode_versions.h"

namespace parapet::text {
namespace {

template <size_t kSize>
std::string class_body(const char* base, const CodePointRange (&added)[kSize]) {
  std::string body = base;
  char buffer[32];
  for (const CodePointRange& range : added) {
    std::snprintf(buffer, sizeof buffer, R"(\x{%x}-\x{%x})", static_cast<unsigned>(range.first),
                  static_cast<unsigned>(range.last));
    body += buffer;
  }
  return body;
}

// Bodies of character classes. `\s` is property White_Space (PCRE2 adds U+180E); `\w` is
// alphabetic, marks, decimal digits and connectors (PCRE2 10.42: letters, numbers, underscore).
constexpr const char* kSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr const char* kHex = "0-9a-fA-F";

// Outside a character class, Oniguruma's `\w` takes the superscripts and fractions of Latin-1 too.
std::string word_body(bool in_class) {
  const char* base = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
  return class_body(base, kWordAdded) + (in_class ? "" : R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})");
}

class Translator {
 public:
  Translator(std::string_view pattern, std::string_view source)
      : pattern_(pattern), source_(source) {}

  std::string run() {
    while (i_ < pattern_.size()) {
      const char c = pattern_[i_];
      if (c == '\\')
        escape();
      else if (in_class_)
        class_character(c);
      else if (c == '[')
        open_class();
      else if (c == '(')
        group();
      else
        out_ += c, ++i_;
    }
    if (in_class_) fail("a character class is not closed");
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const {
    throw DataError(source_, "regex '" + std::string(pattern_) + "': " + problem);
  }

  void open_class() {
    in_class_ = true;
    out_ += pattern_[i_++];
    if (i_ < pattern_.size() && pattern_[i_] == '^') out_ += pattern_[i_++];
    if (i_ < pattern_.size() && pattern_[i_] == ']') out_ += "\\]", ++i_;
  }

  // `(?m)` means in Ruby what `(?s)` means in PCRE2; other groups are the same.
  void group() {
    size_t j = i_ + 1;
    out_ += '(', ++i_;
    if (j >= pattern_.size() || pattern_[j] != '?') return;
    size_t end = j + 1;
    while (end < pattern_.size() && (pattern_[end] == 'i' || pattern_[end] == 'm' ||
                                     pattern_[end] == 'x' || pattern_[end] == '-'))
      ++end;
    if (end == j + 1 || end >= pattern_.size() || (pattern_[end] != ':' && pattern_[end] != ')'))
      return;
    for (; i_ < end; ++i_) out_ += pattern_[i_] == 'm' ? 's' : pattern_[i_];
  }

  void class_character(char c) {
    if (c == ']') in_class_ = false;
    if (c == '[') {
      const size_t end = pattern_.find(":]", i_);
      if (pattern_.substr(i_, 2) != "[:" || end == std::string_view::npos)
        fail("nested character classes are not supported; escape the '['");
      out_ += pattern_.substr(i_, end + 2 - i_);
      i_ = end + 2;
      return;
    }
    if (pattern_.substr(i_, 2) == "&&") fail("class intersections (&&) are not supported");
    out_ += c;
    ++i_;
  }

  void shorthand(const std::string& body, bool negated) {
    if (!in_class_)
      out_ += (negated ? "[^" : "[") + body + "]";
    else if (!negated)
      out_ += body;
    else
      fail("a negated shorthand inside a character class is not supported");
  }

  void escape() {
    if (i_ + 1 >= pattern_.size()) fail("ends in a backslash");
    const char c = pattern_[i_ + 1];
    const size_t at = i_;
    i_ += 2;
    switch (c) {
      case 's':
        return shorthand(kSpace, false);
      case 'S':
        return in_class_ ? void(out_ += "\\S") : shorthand(kSpace, true);
      case 'w':
        return shorthand(word_body(in_class_), false);
      case 'W':
        return in_class_ ? void(out_ += "\\W") : shorthand(word_body(in_class_), true);
      case 'h':
        return shorthand(kHex, false);
      case 'H':
        return shorthand(kHex, true);
      case 'p':
      case 'P':
        return property(at);
      case 'u':
        return code_unit();
      default:
        out_ += pattern_.substr(at, 2);
    }
  }

  // \p{L} and \p{N} get the newer letters and numbers; other properties are copied.
  void property(size_t at) {
    const size_t end = i_ < pattern_.size() && pattern_[i_] == '{' ? pattern_.find('}', i_) : i_;
    if (end >= pattern_.size()) fail("\\p is not complete");
    i_ = end + 1;
    const std::string_view whole = pattern_.substr(at, i_ - at);
    const bool letters = whole == "\\p{L}" || whole == "\\P{L}";
    const bool numbers = whole == "\\p{N}" || whole == "\\P{N}";
    const bool negated = whole[1] == 'P';
    if (!(letters || numbers) || (negated && in_class_))
      out_ += whole;
    else
      shorthand(letters ? class_body("\\p{L}", kLettersAdded) : class_body("\\p{N}", kNumbersAdded),
                negated);
  }

  // \uHHHH
  void code_unit() {
    if (i_ + 4 > pattern_.size()) fail("\\u needs four hexadecimal digits");
    out_ += "\\x{" + std::string(pattern_.substr(i_, 4)) + "}";
    i_ += 4;
  }

  std::string_view pattern_;
  std::string_view source_;
  std::string out_;
  size_t i_ = 0;
  bool in_class_ = false;
};

}  // namespace

std::string translate_regex(std::string_view pattern, std::string_view source) {
  return Translator(pattern, source).run();
}

}  // namespace parapet::text

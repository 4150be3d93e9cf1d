#include "parapet/guard/escapes.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "parapet/core/utf8.h"

namespace parapet::guard {
namespace {

constexpr int kMaxRounds = 16;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

struct Escape {
  std::string bytes;
  size_t length = 0;  // of the escape
};
using Found = std::optional<Escape>;

std::optional<char32_t> number(std::string_view digits, int base) {
  if (digits.empty() || digits.size() > 8) return std::nullopt;
  char32_t value = 0;
  for (const char c : digits) {
    const int digit = hex_digit(c);
    if (digit < 0 || digit >= base) return std::nullopt;
    value = value * static_cast<char32_t>(base) + static_cast<char32_t>(digit);
  }
  return value;
}

Found character(char32_t c, size_t length) {
  if (c == 0 || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return std::nullopt;
  Escape escape{"", length};
  append_utf8(escape.bytes, c);
  return escape;
}

// "%62", or the several of one character.
Found percent(std::string_view s) {
  std::string bytes;
  for (size_t at = 0; at + 2 < s.size() && s[at] == '%' && bytes.size() < 4; at += 3) {
    const int high = hex_digit(s[at + 1]), low = hex_digit(s[at + 2]);
    if (high < 0 || low < 0) break;
    bytes.push_back(static_cast<char>(high << 4 | low));
    if (bytes[0] != '\0' && is_valid_utf8(bytes)) return Escape{bytes, at + 3};
  }
  return std::nullopt;
}

// "&#98;", "&#x62;", and the names of signs that part or hide letters.
Found reference(std::string_view s) {
  struct Named {
    std::string_view name;
    char32_t c;
  };
  static constexpr std::array kNames = {
      Named{"amp;", U'&'},    Named{"lt;", U'<'},
      Named{"gt;", U'>'},     Named{"quot;", U'"'},
      Named{"apos;", U'\''},  Named{"nbsp;", U' '},
      Named{"shy;", 0xAD},    Named{"zwj;", 0x200D},
      Named{"zwnj;", 0x200C}, Named{"rsquo;", U'\''},
      Named{"lsquo;", U'\''}, Named{"hyphen;", U'-'},
      Named{"dash;", U'-'},   Named{"ndash;", U'–'},
      Named{"mdash;", U'—'},  Named{"lowbar;", U'_'},
      Named{"period;", U'.'}, Named{"sol;", U'/'},
      Named{"commat;", U'@'}, Named{"dollar;", U'$'},
      Named{"excl;", U'!'},   Named{"ZeroWidthSpace;", 0x200B},
  };
  if (s.size() < 4 || s[0] != '&') return std::nullopt;
  if (s[1] != '#') {
    for (const Named& one : kNames)
      if (s.substr(1).starts_with(one.name)) return character(one.c, one.name.size() + 1);
    return std::nullopt;
  }
  const bool hex = s[2] == 'x' || s[2] == 'X';
  const size_t first = hex ? 3 : 2;
  size_t end = first;
  while (end < s.size() && hex_digit(s[end]) >= 0 && hex_digit(s[end]) < (hex ? 16 : 10)) ++end;
  const auto value = number(s.substr(first, end - first), hex ? 16 : 10);
  if (!value) return std::nullopt;
  return character(*value, end + (end < s.size() && s[end] == ';' ? 1 : 0));
}

// "\u0062", "\u{62}", "\U00000062", "\x62"; a pair of surrogates is one character.
Found backslash(std::string_view s) {
  if (s.size() < 4 || s[0] != '\\') return std::nullopt;
  if (s[1] == 'u' && s[2] == '{') {
    const size_t close = s.substr(0, 12).find('}');
    if (close == std::string_view::npos) return std::nullopt;
    const auto value = number(s.substr(3, close - 3), 16);
    return value ? character(*value, close + 1) : std::nullopt;
  }
  const size_t digits = s[1] == 'u' ? 4 : s[1] == 'U' ? 8 : s[1] == 'x' ? 2 : 0;
  if (digits == 0 || s.size() < 2 + digits) return std::nullopt;
  const auto value = number(s.substr(2, digits), 16);
  if (!value) return std::nullopt;
  if (*value >= 0xD800 && *value < 0xDC00 && s.substr(6).starts_with("\\u") && s.size() >= 12) {
    const auto low = number(s.substr(8, 4), 16);
    if (low && *low >= 0xDC00 && *low < 0xE000)
      return character(0x10000 + ((*value - 0xD800) << 10) + (*low - 0xDC00), 12);
  }
  return character(*value, 2 + digits);
}

Unescaped once(std::string_view s) {
  Unescaped out;
  size_t copied = 0;
  const auto copy = [&](size_t to) {
    for (; copied < to; ++copied) {
      out.text.push_back(s[copied]);
      out.begins.push_back(static_cast<uint32_t>(copied));
      out.ends.push_back(static_cast<uint32_t>(copied + 1));
    }
  };
  for (size_t at = s.find_first_of("%&\\"); at < s.size(); at = s.find_first_of("%&\\", at)) {
    const std::string_view rest = s.substr(at);
    const Found found = s[at] == '%'   ? percent(rest)
                        : s[at] == '&' ? reference(rest)
                                       : backslash(rest);
    if (!found) {
      ++at;
      continue;
    }
    copy(at);
    out.text += found->bytes;
    out.begins.resize(out.text.size(), static_cast<uint32_t>(at));
    at = copied = at + found->length;
    out.ends.resize(out.text.size(), static_cast<uint32_t>(at));
  }
  if (!out.text.empty() || copied > 0) copy(s.size());
  return out;
}

}  // namespace

Unescaped unescape(std::string_view text) {
  Unescaped out = once(text);
  for (int round = 1; !out.text.empty(); ++round) {
    Unescaped next = once(out.text);
    if (next.text.empty()) break;
    if (round == kMaxRounds) {
      out.complete = false;
      break;
    }
    for (size_t i = 0; i < next.text.size(); ++i) {
      next.begins[i] = out.begins[next.begins[i]];
      next.ends[i] = out.ends[next.ends[i] - 1];
    }
    out = std::move(next);
  }
  return out;
}

}  // namespace parapet::guard

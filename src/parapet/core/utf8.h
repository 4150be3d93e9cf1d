// UTF-8: repair of invalid input, and walking over valid text.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace parapet {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;

bool is_ascii(std::string_view s);
bool is_valid_utf8(std::string_view s);
// Bytes of `s` that are valid from its start; s.size() when all are.
size_t valid_utf8_prefix(std::string_view s);
// The text itself when valid. Otherwise a copy in `storage` in which every maximal ill-formed
// subpart (Unicode 15, section 3.9, table 3-8) became U+FFFD: the same result as Python's
// bytes.decode("utf-8", errors="replace").
std::string_view repair_utf8(std::string_view s, std::string& storage);
// Bytes at the end of `s` that begin a character and lack the rest of it: at most three. What
// stands before them is repaired the same way whatever follows.
size_t incomplete_utf8_tail(std::string_view s);

// Decodes the code point at `pos` of valid text and moves `pos` past it.
inline char32_t next_code_point(std::string_view s, size_t& pos) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char lead = byte(pos);
  if (lead < 0x80) return s[pos++];
  if (lead < 0xE0) {
    pos += 2;
    return (lead & 0x1Fu) << 6 | (byte(pos - 1) & 0x3Fu);
  }
  if (lead < 0xF0) {
    pos += 3;
    return (lead & 0x0Fu) << 12 | (byte(pos - 2) & 0x3Fu) << 6 | (byte(pos - 1) & 0x3Fu);
  }
  pos += 4;
  return (lead & 0x07u) << 18 | (byte(pos - 3) & 0x3Fu) << 12 | (byte(pos - 2) & 0x3Fu) << 6 |
         (byte(pos - 1) & 0x3Fu);
}

// The code point that ends at `pos` (> 0) of valid text; moves `pos` to its start.
inline char32_t previous_code_point(std::string_view s, size_t& pos) {
  do --pos;
  while ((static_cast<unsigned char>(s[pos]) & 0xC0) == 0x80);
  size_t start = pos;
  return next_code_point(s, start);
}

inline size_t code_point_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

void append_utf8(std::string& out, char32_t code_point);

}  // namespace parapet

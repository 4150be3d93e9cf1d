#include "parapet/core/utf8.h"

#include <cstdint>
#include <cstring>

namespace parapet {
namespace {

// Length of the well-formed sequence at `p`, or minus the length of the ill-formed maximal subpart.
int sequence_length(const unsigned char* p, size_t left) {
  const unsigned char lead = p[0];
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return -1;
  const int length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte's range excludes over-long forms, surrogates and values past U+10FFFF.
  unsigned char low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (int i = 1; i < length; ++i) {
    if (static_cast<size_t>(i) >= left || p[i] < low || p[i] > high) return -i;
    low = 0x80, high = 0xBF;
  }
  return length;
}

size_t ascii_prefix(std::string_view s) {
  size_t i = 0;
  for (; i + 8 <= s.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, s.data() + i, 8);
    if (word & 0x8080808080808080u) break;
  }
  while (i < s.size() && static_cast<unsigned char>(s[i]) < 0x80) ++i;
  return i;
}

}  // namespace

bool is_ascii(std::string_view s) { return ascii_prefix(s) == s.size(); }

size_t valid_utf8_prefix(std::string_view s) {
  size_t i = 0;
  while (i < s.size()) {
    i += ascii_prefix(s.substr(i));
    if (i == s.size()) break;
    const int length =
        sequence_length(reinterpret_cast<const unsigned char*>(s.data()) + i, s.size() - i);
    if (length < 0) break;
    i += static_cast<size_t>(length);
  }
  return i;
}

bool is_valid_utf8(std::string_view s) { return valid_utf8_prefix(s) == s.size(); }

size_t incomplete_utf8_tail(std::string_view s) {
  const auto* end = reinterpret_cast<const unsigned char*>(s.data()) + s.size();
  for (size_t count = 1; count <= 3 && count <= s.size(); ++count) {
    const unsigned char lead = *(end - count);
    if ((lead & 0xC0) == 0x80) continue;
    const bool begins = lead >= 0xC2 && lead <= 0xF4;
    return begins && sequence_length(end - count, count) == -static_cast<int>(count) ? count : 0;
  }
  return 0;
}

std::string_view repair_utf8(std::string_view s, std::string& storage) {
  size_t valid = valid_utf8_prefix(s);
  if (valid == s.size()) return s;
  storage.clear();
  storage.reserve(s.size() + s.size() / 2);
  while (true) {
    storage.append(s.substr(0, valid));
    s.remove_prefix(valid);
    if (s.empty()) return storage;
    const int bad = sequence_length(reinterpret_cast<const unsigned char*>(s.data()), s.size());
    append_utf8(storage, kReplacementCharacter);
    s.remove_prefix(static_cast<size_t>(-bad));
    valid = valid_utf8_prefix(s);
  }
}

void append_utf8(std::string& out, char32_t cp) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (cp < 0x80) {
    put(cp);
  } else if (cp < 0x800) {
    put(0xC0 | cp >> 6), put(0x80 | (cp & 0x3F));
  } else if (cp < 0x10000) {
    put(0xE0 | cp >> 12), put(0x80 | (cp >> 6 & 0x3F)), put(0x80 | (cp & 0x3F));
  } else {
    put(0xF0 | cp >> 18), put(0x80 | (cp >> 12 & 0x3F));
    put(0x80 | (cp >> 6 & 0x3F)), put(0x80 | (cp & 0x3F));
  }
}

}  // namespace parapet

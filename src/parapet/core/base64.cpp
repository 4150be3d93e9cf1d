#include "parapet/core/base64.h"

#include <array>

#include "parapet/core/error.h"

namespace parapet {
namespace {

constexpr uint8_t kSpace = 64;
constexpr uint8_t kPad = 65;
constexpr uint8_t kWrong = 66;

constexpr std::array<uint8_t, 256> make_table() {
  std::array<uint8_t, 256> table{};
  for (auto& value : table) value = kWrong;
  uint8_t next = 0;
  for (char c = 'A'; c <= 'Z'; ++c) table[static_cast<uint8_t>(c)] = next++;
  for (char c = 'a'; c <= 'z'; ++c) table[static_cast<uint8_t>(c)] = next++;
  for (char c = '0'; c <= '9'; ++c) table[static_cast<uint8_t>(c)] = next++;
  table['+'] = table['-'] = 62;
  table['/'] = table['_'] = 63;
  table['='] = kPad;
  for (const char c : {' ', '\t', '\n', '\r'}) table[static_cast<uint8_t>(c)] = kSpace;
  return table;
}

constexpr std::array<uint8_t, 256> kTable = make_table();

[[noreturn]] void fail(std::string_view source, size_t offset, std::string_view problem) {
  throw DataError(source, "base64, offset " + std::to_string(offset) + ": " + std::string(problem));
}

// What may follow the first '=': more padding and white space.
void check_padding(std::string_view text, size_t begin, size_t digits, std::string_view source) {
  size_t count = 0;
  for (size_t i = begin; i < text.size(); ++i) {
    const uint8_t value = kTable[static_cast<uint8_t>(text[i])];
    if (value == kSpace) continue;
    if (value != kPad) fail(source, i, "data after the padding");
    ++count;
  }
  if ((digits + count) % 4 != 0 || count > 2) fail(source, begin, "wrong padding");
}

}  // namespace

int64_t base64_decoded_bound(std::string_view text) {
  return static_cast<int64_t>(text.size() / 4 * 3 + 2);
}

std::string base64_decode(std::string_view text, std::string_view source, int64_t max_bytes) {
  if (base64_decoded_bound(text) > max_bytes + 4) {
    throw DataError(source, "base64 of " + std::to_string(text.size()) +
                                " characters holds more than " + std::to_string(max_bytes) +
                                " bytes");
  }
  std::string bytes;
  bytes.reserve(static_cast<size_t>(base64_decoded_bound(text)));
  uint32_t bits = 0;
  size_t digits = 0;
  size_t at = 0;
  const auto value_at = [&](size_t i) { return kTable[static_cast<uint8_t>(text[i])]; };
  for (; at < text.size(); ++at) {
    // Whole groups of four at once: nearly all of a long input.
    while (digits % 4 == 0 && at + 4 <= text.size()) {
      const uint32_t a = value_at(at), b = value_at(at + 1), c = value_at(at + 2),
                     d = value_at(at + 3);
      if ((a | b | c | d) >= 64) break;
      const uint32_t group = a << 18 | b << 12 | c << 6 | d;
      const char out[3] = {static_cast<char>(group >> 16), static_cast<char>(group >> 8),
                           static_cast<char>(group)};
      bytes.append(out, 3);
      digits += 4;
      at += 4;
    }
    if (at >= text.size()) break;
    const uint8_t value = value_at(at);
    if (value == kSpace) continue;
    if (value == kPad) break;
    if (value == kWrong) fail(source, at, "not a base64 character");
    bits = bits << 6 | value;
    if (++digits % 4 == 0) {
      const char out[3] = {static_cast<char>(bits >> 16), static_cast<char>(bits >> 8),
                           static_cast<char>(bits)};
      bytes.append(out, 3);
      bits = 0;
    }
  }
  const size_t rest = digits % 4;
  if (rest == 1) fail(source, at, "ends in the middle of a byte");
  if (at < text.size()) check_padding(text, at, digits, source);
  if (rest == 2) bytes.push_back(static_cast<char>(bits >> 4));
  if (rest == 3) {
    bytes.push_back(static_cast<char>(bits >> 10));
    bytes.push_back(static_cast<char>(bits >> 2));
  }
  if ((rest == 2 && (bits & 0xF) != 0) || (rest == 3 && (bits & 0x3) != 0))
    fail(source, at, "bits left over in the last character");
  if (static_cast<int64_t>(bytes.size()) > max_bytes)
    throw DataError(source, "decodes to more than " + std::to_string(max_bytes) + " bytes");
  return bytes;
}

}  // namespace parapet

#include "parapet/text/byte_alphabet.h"

#include "parapet/core/utf8.h"

namespace parapet::text {
namespace {

bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<std::string, 256> text;
  std::array<int, 512> byte;
  Alphabet() {
    byte.fill(-1);
    char32_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const char32_t cp = stands_for_itself(b) ? static_cast<char32_t>(b) : next++;
      append_utf8(text[static_cast<size_t>(b)], cp);
      byte[cp] = b;
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

const std::array<std::string, 256>& byte_alphabet() { return alphabet().text; }

int byte_of(char32_t cp) { return cp < alphabet().byte.size() ? alphabet().byte[cp] : -1; }

void append_byte_level(std::string& out, std::string_view bytes) {
  for (const char c : bytes) out += byte_alphabet()[static_cast<unsigned char>(c)];
}

}  // namespace parapet::text

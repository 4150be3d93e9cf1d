// GPT-2's byte-level alphabet: every byte as one printable character, so that BPE over characters
// is BPE over bytes. Printable Latin-1 bytes stand for themselves; the other 68 become U+0100...
#pragma once
#include <array>
#include <string>
#include <string_view>

namespace parapet::text {

// UTF-8 of the character that stands for each byte.
const std::array<std::string, 256>& byte_alphabet();
// The byte that `cp` stands for, -1 when it is not in the alphabet.
int byte_of(char32_t cp);
void append_byte_level(std::string& out, std::string_view bytes);

}  // namespace parapet::text

#include "parapet/guard/frames.h"

#include <cstddef>
#include <cstdint>

namespace parapet::guard {
namespace {

uint8_t byte_at(std::string_view bytes, size_t at) {
  return at < bytes.size() ? static_cast<uint8_t>(bytes[at]) : 0;
}

uint32_t big_endian(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | byte_at(bytes, at + i);
  return value;
}

uint32_t little_endian(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | byte_at(bytes, at + i);
  return value;
}

// Bytes of a colour table, by the flags that announce it.
size_t gif_table(uint8_t flags) { return (flags & 0x80) != 0 ? size_t{6} << (flags & 7) : 0; }

// Past a chain of blocks of at most 255 bytes, which ends with an empty one.
size_t after_gif_blocks(std::string_view bytes, size_t at) {
  while (at < bytes.size()) {
    const size_t length = byte_at(bytes, at);
    at += 1 + length;
    if (length == 0) break;
  }
  return at;
}

bool gif_frames(std::string_view bytes) {
  int frames = 0;
  size_t at = 13 + gif_table(byte_at(bytes, 10));
  while (at < bytes.size()) {
    const uint8_t kind = byte_at(bytes, at);
    if (kind == 0x21) {  // an extension
      at = after_gif_blocks(bytes, at + 2);
    } else if (kind == 0x2C) {  // a picture
      if (++frames > 1) return true;
      at = after_gif_blocks(bytes, at + 11 + gif_table(byte_at(bytes, at + 9)));
    } else if (kind == 0x3B) {  // the end
      return false;
    } else {
      ++at;  // readers skip what is none of these
    }
  }
  return false;
}

bool webp_frames(std::string_view bytes) {
  int frames = 0;
  for (size_t at = 12; at + 8 <= bytes.size();) {
    if (bytes.substr(at, 4) == "ANMF" && ++frames > 1) return true;
    const size_t length = little_endian(bytes, at + 4);
    at += 8 + length + length % 2;
  }
  return false;
}

// The picture of an animated PNG need not be one of its frames: one frame besides is enough.
bool png_frames(std::string_view bytes) {
  for (size_t at = 8; at + 8 <= bytes.size();) {
    if (bytes.substr(at + 4, 4) == "fdAT") return true;
    at += 12 + size_t{big_endian(bytes, at)};
  }
  return false;
}

}  // namespace

bool has_more_frames(std::string_view bytes) {
  if (bytes.starts_with("GIF8")) return gif_frames(bytes);
  if (bytes.starts_with("RIFF") && bytes.substr(0, 12).ends_with("WEBP")) return webp_frames(bytes);
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return png_frames(bytes);
  return false;
}

}  // namespace parapet::guard

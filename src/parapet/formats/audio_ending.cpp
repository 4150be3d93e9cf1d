#include "parapet/formats/audio_ending.h"

#include <algorithm>
#include <cstring>

#include "parapet/core/strings.h"

namespace parapet::media_detail {
namespace {

uint32_t little_endian(const char* at) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(at[i]);
  return value;
}

// Writers that do not know the length yet put the largest number there, signed or not, or zero.
bool says_nothing(uint32_t size) { return size == 0 || size >= 0x7fff0000u; }

// "RIFF" size "WAVE", then chunks: a name of four letters, a size, the bytes, padded to even.
std::string missing_of_wav(const MediaBytes& bytes) {
  constexpr int kMaxChunks = 1000;
  char head[12];
  if (bytes.read_at(0, head, sizeof head) != sizeof head || std::memcmp(head, "RIFF", 4) != 0)
    return "";
  int64_t at = sizeof head;
  for (int i = 0; i < kMaxChunks && bytes.read_at(at, head, 8) == 8; ++i) {
    const uint32_t size = little_endian(head + 4);
    at += 8;
    if (std::memcmp(head, "data", 4) == 0) {
      // RF64 has the true length elsewhere and the largest number here.
      if (says_nothing(size) || at + int64_t{size} <= bytes.size()) return "";
      return "says that it holds " + format_bytes(size) + " of sound, but there are " +
             format_bytes(bytes.size() - at);
    }
    at += int64_t{size} + size % 2;
  }
  return "";
}

// Every page starts with "OggS", a zero and flags, of which 4 marks a stream's last page.
std::string missing_of_ogg(const MediaBytes& bytes) {
  constexpr int64_t kLargestPage = 65307;
  constexpr uint8_t kLastPage = 4;
  const int64_t from = std::max<int64_t>(0, bytes.size() - kLargestPage);
  std::string tail(static_cast<size_t>(bytes.size() - from), '\0');
  tail.resize(bytes.read_at(from, tail.data(), tail.size()));
  const size_t page = tail.rfind(std::string("OggS\0", 5));
  if (page != std::string::npos && page + 5 < tail.size() &&
      (static_cast<uint8_t>(tail[page + 5]) & kLastPage) != 0)
    return "";
  return "has no last page";
}

}  // namespace

std::string missing_end(const MediaBytes& bytes, const std::string& container) {
  if (container == "wav") return missing_of_wav(bytes);
  if (container == "ogg") return missing_of_ogg(bytes);
  return "";
}

}  // namespace parapet::media_detail

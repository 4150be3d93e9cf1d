// A hit of a word list, a pattern or a phrase in a text.
#pragma once
#include <cstddef>
#include <cstdint>

namespace parapet::guard {

struct TextHit {
  int32_t list = 0;           // index into the lists given
  int32_t entry = 0;          // of the list: its own entries first, then its files' in order
  size_t begin = 0, end = 0;  // bytes of the text given
  const char* view = "";  // how it was read: plain, lookalike, leet, spaced, stretched, masked...
};

}  // namespace parapet::guard

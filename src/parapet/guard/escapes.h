// Texts that spell their letters as escapes: %62, &#98;, \u0062, \x62.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace parapet::guard {

struct Unescaped {
  std::string text;                    // valid UTF-8; empty when the original holds no escape
  std::vector<uint32_t> begins, ends;  // per byte: the bytes of the original that it stands for
  bool complete = true;                // false: escapes lie in each other deeper than is read
};

// Resolves percent escapes of valid UTF-8, HTML character references, and the escapes of JSON,
// JavaScript and C, also where one hides another ("%2562"), to a depth of 16. `text` is valid UTF-8
// below 4 GiB.
Unescaped unescape(std::string_view text);

}  // namespace parapet::guard

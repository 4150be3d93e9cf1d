// A decoded picture, and how one is decoded.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace parapet {

// Interleaved 8-bit RGB, rows top to bottom, no padding.
struct Image {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> rgb;  // height * width * 3
};

struct DecodeOptions {
  int64_t max_bytes = int64_t{64} << 20;      // of the encoded file
  int64_t max_pixels = int64_t{100'000'000};  // from the header, before allocation
  // > 0 permits JPEG's scaled decode as long as both sides stay >= 2 x this many pixels and the
  // scale divides them: after a bicubic resize to `scale_for` the result changes by <= 4 levels on
  // 99 % of the pixels of a photograph (measured: 99.8 %, at most 20 levels at sharp edges).
  // 0 = exact.
  int64_t scale_for = 0;
  bool apply_exif_orientation = true;
};

}  // namespace parapet

// The two inner loops of resize, vectorised.
#pragma once
#include <cstdint>
#include <vector>

#include "parapet/formats/image.h"

namespace parapet::resize_detail {

inline constexpr int kBits = 22;  // fraction bits of the weights

// Which inputs each output mixes.
struct Taps {
  int64_t per_output = 0;        // stride of `weights`
  std::vector<int64_t> first;    // per output sample: first input sample
  std::vector<int64_t> count;    // and how many
  std::vector<int32_t> weights;  // [outputs, per_output]
};

// RGB pixels inside a larger image; rows are `stride` bytes apart.
struct Plane {
  const uint8_t* data;
  int64_t stride;
  int64_t width;
  int64_t height;
};

// One output column per tap entry, every row.
Image pass_across(const Plane& in, const Taps& taps);
// One output row per tap entry, every column.
Image pass_down(const Plane& in, const Taps& taps);

}  // namespace parapet::resize_detail

// What the int8 kernels and the tiles they are made of both speak of.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace parapet::int8 {

// Outputs of a product come in panels of this many.
constexpr int64_t kPanel = 64;

// The panels or rows [begin, end) that a call works on.
struct Range {
  int64_t begin = 0, end = 0;
};

// One linear layer: y = scale * (levels . bytes) + shift.
struct Linear {
  int64_t inputs = 0, outputs = 0;
  at::Tensor levels;        // int8 [outputs / 64][inputs / 4][64][4]
  at::Tensor scale, shift;  // float [outputs]; what the bytes and levels stand for is folded in
};

}  // namespace parapet::int8

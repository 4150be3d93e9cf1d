// The two inner loops of resize, vectorised.
#pragma once
#include <cstdint>
#include <vector>

namespace parapet::resize_detail {

inline constexpr int kBits = 22;  // fraction bits of the weights

struct Taps {
  int64_t per_output = 0;        // stride of `weights`
  std::vector<int32_t> first;    // per output sample: first input sample
  std::vector<int32_t> count;    // and how many
  std::vector<int32_t> weights;  // [outputs, per_output]
};

// `rows` rows of `in_width` RGB pixels to `out_width` pixels.
void pass_across(const uint8_t* in, int64_t in_width, int64_t rows, const Taps& taps,
                 int64_t out_width, uint8_t* out);
// Mixes whole rows of `row_bytes`.
void pass_down(const uint8_t* in, int64_t row_bytes, const Taps& taps, int64_t out_rows,
               uint8_t* out);

}  // namespace parapet::resize_detail

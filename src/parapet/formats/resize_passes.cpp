#include "parapet/formats/resize_passes.h"

#include <algorithm>
#include <cstring>

// The same loops compiled for newer instruction sets, chosen when the program starts.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PARAPET_VECTOR \
  __attribute__((target_clones("arch=x86-64-v4", "avx2", "default"), optimize("O3")))
#else
#define PARAPET_VECTOR
#endif

namespace parapet::resize_detail {
namespace {

constexpr int32_t kHalf = 1 << (kBits - 1);
constexpr int64_t kLanes = 32;    // rows handled side by side in the horizontal pass
constexpr int64_t kBlock = 1024;  // bytes of a row handled at once in the vertical pass

inline uint8_t clip(int32_t value) {
  value >>= kBits;
  return static_cast<uint8_t>(std::clamp(value, 0, 255));
}

// [kLanes rows][bytes] to [bytes][kLanes], so that neighbouring lanes are rows and every tap is one
// multiply-add across them.
PARAPET_VECTOR void interleave(const uint8_t* in, int64_t bytes, int64_t rows, uint8_t* out) {
  for (int64_t x0 = 0; x0 < bytes; x0 += 64) {
    const int64_t x1 = std::min(bytes, x0 + 64);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t x = x0; x < x1; ++x) out[x * kLanes + r] = in[r * bytes + x];
  }
}

PARAPET_VECTOR void mix_lanes(const uint8_t* in, const Taps& taps, int64_t out_width,
                              uint8_t* out) {
  for (int64_t i = 0; i < out_width; ++i) {
    const int32_t* weights = taps.weights.data() + i * taps.per_output;
    const uint8_t* from = in + int64_t{taps.first[size_t(i)]} * 3 * kLanes;
    const int64_t count = taps.count[size_t(i)];
    for (int64_t c = 0; c < 3; ++c) {
      int32_t sum[kLanes];
      for (int64_t r = 0; r < kLanes; ++r) sum[r] = kHalf;
      for (int64_t k = 0; k < count; ++k) {
        const uint8_t* lane = from + (k * 3 + c) * kLanes;
        for (int64_t r = 0; r < kLanes; ++r) sum[r] += weights[k] * lane[r];
      }
      for (int64_t r = 0; r < kLanes; ++r) out[(i * 3 + c) * kLanes + r] = clip(sum[r]);
    }
  }
}

PARAPET_VECTOR void deinterleave(const uint8_t* in, int64_t bytes, int64_t rows, uint8_t* out) {
  for (int64_t x0 = 0; x0 < bytes; x0 += 64) {
    const int64_t x1 = std::min(bytes, x0 + 64);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t x = x0; x < x1; ++x) out[r * bytes + x] = in[x * kLanes + r];
  }
}

PARAPET_VECTOR void mix_rows(const uint8_t* in, int64_t stride, const int32_t* weights,
                             int64_t count, int64_t bytes, uint8_t* out) {
  int32_t sum[kBlock];
  for (int64_t x = 0; x < bytes; ++x) sum[x] = kHalf;
  for (int64_t k = 0; k < count; ++k) {
    const uint8_t* row = in + k * stride;
    for (int64_t x = 0; x < bytes; ++x) sum[x] += weights[k] * row[x];
  }
  for (int64_t x = 0; x < bytes; ++x) out[x] = clip(sum[x]);
}

}  // namespace

void pass_across(const uint8_t* in, int64_t in_width, int64_t rows, const Taps& taps,
                 int64_t out_width, uint8_t* out) {
  std::vector<uint8_t> lanes_in(static_cast<size_t>(in_width * 3 * kLanes));
  std::vector<uint8_t> lanes_out(static_cast<size_t>(out_width * 3 * kLanes));
  for (int64_t y = 0; y < rows; y += kLanes) {
    const int64_t count = std::min(kLanes, rows - y);
    interleave(in + y * in_width * 3, in_width * 3, count, lanes_in.data());
    mix_lanes(lanes_in.data(), taps, out_width, lanes_out.data());
    deinterleave(lanes_out.data(), out_width * 3, count, out + y * out_width * 3);
  }
}

void pass_down(const uint8_t* in, int64_t row_bytes, const Taps& taps, int64_t out_rows,
               uint8_t* out) {
  for (int64_t y = 0; y < out_rows; ++y) {
    const uint8_t* from = in + int64_t{taps.first[size_t(y)]} * row_bytes;
    for (int64_t x = 0; x < row_bytes; x += kBlock)
      mix_rows(from + x, row_bytes, taps.weights.data() + y * taps.per_output,
               taps.count[size_t(y)], std::min(kBlock, row_bytes - x), out + y * row_bytes + x);
  }
}

}  // namespace parapet::resize_detail

#include "parapet/formats/resize_passes.h"

#include <algorithm>
#include <cstring>

#include "parapet/core/target_clones.h"

// The same loops compiled for newer instruction sets, chosen when the program starts.
#define PARAPET_VECTOR PARAPET_VECTOR_CLONES("arch=x86-64-v4", "avx2", "default")

namespace parapet::resize_detail {
namespace {

constexpr int32_t kHalf = 1 << (kBits - 1);
constexpr int64_t kLanes = 16;  // rows handled side by side in the horizontal pass
constexpr int64_t kStrip = 64;  // bytes of a row handled at once in the vertical pass

inline uint8_t clip(int32_t value) {
  value >>= kBits;
  return static_cast<uint8_t>(std::clamp(value, 0, 255));
}

using Bytes = uint8_t __attribute__((vector_size(16)));

inline Bytes load(const uint8_t* from) {
  Bytes value;
  std::memcpy(&value, from, 16);
  return value;
}

// 16 x 16 bytes: four perfect shuffles of the rows turn rows into columns.
inline void transpose(Bytes (&rows)[16]) {
  for (int stage = 0; stage < 4; ++stage) {
    Bytes next[16];
    for (int i = 0; i < 8; ++i) {
      // g++ 12 and clang both have this builtin.
      next[2 * i] = __builtin_shufflevector(rows[i], rows[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20,
                                            5, 21, 6, 22, 7, 23);
      next[2 * i + 1] = __builtin_shufflevector(rows[i], rows[i + 8], 8, 24, 9, 25, 10, 26, 11, 27,
                                                12, 28, 13, 29, 14, 30, 15, 31);
    }
    std::copy(std::begin(next), std::end(next), std::begin(rows));
  }
}

// [rows][bytes] to [bytes][kLanes], so that neighbouring lanes are rows and every tap is one
// multiply-add across them. Lanes beyond `rows` repeat the last row.
PARAPET_VECTOR void interleave(const uint8_t* in, int64_t stride, int64_t bytes, int64_t rows,
                               uint8_t* out) {
  const int64_t whole = bytes / 16 * 16;
  for (int64_t r0 = 0; r0 < kLanes; r0 += 16) {
    const uint8_t* from[16];
    for (int64_t r = 0; r < 16; ++r) from[r] = in + std::min(r0 + r, rows - 1) * stride;
    for (int64_t x = 0; x < whole; x += 16) {
      Bytes block[16];
      for (int64_t r = 0; r < 16; ++r) block[r] = load(from[r] + x);
      transpose(block);
      for (int64_t i = 0; i < 16; ++i) std::memcpy(out + (x + i) * kLanes + r0, &block[i], 16);
    }
    for (int64_t x = whole; x < bytes; ++x)
      for (int64_t r = 0; r < 16; ++r) out[x * kLanes + r0 + r] = from[r][x];
  }
}

// And back.
PARAPET_VECTOR void deinterleave(const uint8_t* in, int64_t bytes, int64_t rows, uint8_t* out) {
  const int64_t whole = bytes / 16 * 16;
  for (int64_t r0 = 0; r0 < rows; r0 += 16) {
    const int64_t count = std::min<int64_t>(16, rows - r0);
    for (int64_t x = 0; x < whole; x += 16) {
      Bytes block[16];
      for (int64_t i = 0; i < 16; ++i) block[i] = load(in + (x + i) * kLanes + r0);
      transpose(block);
      for (int64_t r = 0; r < count; ++r) std::memcpy(out + (r0 + r) * bytes + x, &block[r], 16);
    }
    for (int64_t r = r0; r < r0 + count; ++r)
      for (int64_t x = whole; x < bytes; ++x) out[r * bytes + x] = in[x * kLanes + r];
  }
}

PARAPET_VECTOR void mix_lanes(const uint8_t* in, const Taps& taps, int64_t out_width,
                              uint8_t* out) {
  for (int64_t i = 0; i < out_width; ++i) {
    const int32_t* weights = taps.weights.data() + i * taps.per_output;
    const uint8_t* from = in + taps.first[size_t(i)] * 3 * kLanes;
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

PARAPET_VECTOR void mix_rows(const uint8_t* in, int64_t stride, const int32_t* weights,
                             int64_t count, int64_t bytes, uint8_t* out) {
  int64_t x = 0;
  for (; x + kStrip <= bytes; x += kStrip) {
    int32_t sum[kStrip];
    for (int64_t i = 0; i < kStrip; ++i) sum[i] = kHalf;
    for (int64_t k = 0; k < count; ++k) {
      const uint8_t* row = in + k * stride + x;
      for (int64_t i = 0; i < kStrip; ++i) sum[i] += weights[k] * row[i];
    }
    for (int64_t i = 0; i < kStrip; ++i) out[x + i] = clip(sum[i]);
  }
  for (; x < bytes; ++x) {
    int32_t sum = kHalf;
    for (int64_t k = 0; k < count; ++k) sum += weights[k] * in[k * stride + x];
    out[x] = clip(sum);
  }
}

}  // namespace

Image pass_across(const Plane& in, const Taps& taps) {
  Image out{static_cast<int64_t>(taps.first.size()), in.height, {}};
  out.rgb.resize(static_cast<size_t>(out.width * out.height * 3));
  std::vector<uint8_t> lanes_in(static_cast<size_t>(in.width * 3 * kLanes));
  std::vector<uint8_t> lanes_out(static_cast<size_t>(out.width * 3 * kLanes));
  for (int64_t y = 0; y < in.height; y += kLanes) {
    const int64_t count = std::min(kLanes, in.height - y);
    interleave(in.data + y * in.stride, in.stride, in.width * 3, count, lanes_in.data());
    mix_lanes(lanes_in.data(), taps, out.width, lanes_out.data());
    deinterleave(lanes_out.data(), out.width * 3, count, out.rgb.data() + y * out.width * 3);
  }
  return out;
}

Image pass_down(const Plane& in, const Taps& taps) {
  Image out{in.width, static_cast<int64_t>(taps.first.size()), {}};
  out.rgb.resize(static_cast<size_t>(out.width * out.height * 3));
  for (int64_t y = 0; y < out.height; ++y)
    mix_rows(in.data + taps.first[size_t(y)] * in.stride, in.stride,
             taps.weights.data() + y * taps.per_output, taps.count[size_t(y)], in.width * 3,
             out.rgb.data() + y * out.width * 3);
  return out;
}

}  // namespace parapet::resize_detail

// Attention of the int8 kernels.
#include <algorithm>
#include <cstring>

#include "parapet/engine/int8/int8_kernels.h"

#if defined(__x86_64__)

#include "parapet/engine/int8/vnni_tiles.h"

namespace parapet::int8 {

namespace {

int64_t padded(int64_t length) { return (length + kPanel - 1) / kPanel * kPanel; }

constexpr float kUnseen = -1e30F;

struct Workspace {
  int8_t* keys;   // [padded / 64][width / 4][64][4]
  float* shift;   // [padded]
  float* scores;  // [6][padded]
  float* values;  // [length][width]; at the tower's stride rows would compete for few cache sets
};

Workspace split(uint8_t* work, int64_t length, int64_t width) {
  const int64_t room = padded(length);
  auto* shift = reinterpret_cast<float*>(work + room * width);
  return {reinterpret_cast<int8_t*>(work), shift, shift + room, shift + room * (1 + kTile)};
}

// Keys in panels as weights are, and what each adds to its scores: q_low k_step sum(key). What
// k_zero adds is the same for all keys of a query and leaves the softmax alone.
void pack_keys(const Head& head, const AttentionScales& scales, const Workspace& work) {
  const int64_t steps = head.width / 4, room = padded(head.length);
  for (int64_t t = 0; t < room; ++t) {
    int8_t* out = work.keys + t / kPanel * kPanel * head.width + t % kPanel * 4;
    const int8_t* key = head.k + t * head.stride;
    int32_t sum = 0;
    for (int64_t s = 0; s < steps; ++s, out += 4 * kPanel) {
      if (t >= head.length) {
        std::memset(out, 0, 4);
        continue;
      }
      std::memcpy(out, key + 4 * s, 4);
      sum += key[4 * s] + key[4 * s + 1] + key[4 * s + 2] + key[4 * s + 3];
    }
    work.shift[t] =
        t < head.length ? scales.q_low * scales.k_step * kLog2E * static_cast<float>(sum) : kUnseen;
  }
}

// 2^(score - largest) of the first `seen` keys, 0 behind them; returns one over their sum.
PARAPET_VNNI_INLINE float exponentials(float* scores, int64_t seen, int64_t room) {
  __m512 largest = _mm512_set1_ps(kUnseen);
  const auto mask_at = [seen](int64_t c) {
    return seen - c >= 16  ? static_cast<__mmask16>(0xffff)
           : seen - c <= 0 ? static_cast<__mmask16>(0)
                           : static_cast<__mmask16>((1 << (seen - c)) - 1);
  };
  for (int64_t c = 0; c < seen; c += 16)
    largest = _mm512_mask_max_ps(largest, mask_at(c), largest, _mm512_loadu_ps(scores + c));
  const __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
  __m512 sum = _mm512_setzero_ps();
  for (int64_t c = 0; c < room; c += 16) {
    const __m512 e =
        _mm512_maskz_mov_ps(mask_at(c), exp2_of(_mm512_sub_ps(_mm512_loadu_ps(scores + c), top)));
    sum = _mm512_add_ps(sum, e);
    _mm512_storeu_ps(scores + c, e);
  }
  return 1.0F / _mm512_reduce_add_ps(sum);
}

// Values times probabilities for the columns that no full panel holds.
PARAPET_VNNI_INLINE void narrow_values(const Head& head, const float* scores, const float* values,
                                       int64_t room, int64_t rows, int64_t first, const float* gain,
                                       float offset, uint8_t* out) {
  for (int64_t c = first; c < head.width; c += 16) {
    const int64_t left = head.width - c;
    const auto mask = static_cast<__mmask16>(left >= 16 ? 0xffff : (1 << left) - 1);
    for (int64_t i = 0; i < rows; ++i) {
      __m512 sum = _mm512_setzero_ps();
      for (int64_t t = 0; t < head.length; ++t)
        sum = _mm512_fmadd_ps(_mm512_set1_ps(scores[i * room + t]),
                              _mm512_maskz_loadu_ps(mask, values + t * head.width + c), sum);
      const __m512 y = _mm512_fmadd_ps(sum, _mm512_set1_ps(gain[i]), _mm512_set1_ps(offset));
      const __m512i level = _mm512_max_epi32(_mm512_cvtps_epi32(y), _mm512_setzero_si512());
      _mm512_mask_cvtusepi32_storeu_epi8(out + i * head.stride + c, mask, level);
    }
  }
}

}  // namespace

int64_t attention_work(int64_t length, int64_t width) {
  const int64_t room = padded(length);
  const int64_t floats = room * (1 + kTile) + length * width;
  return room * width + floats * static_cast<int64_t>(sizeof(float));
}

PARAPET_VNNI void attend(const Head& head, const AttentionScales& scales, uint8_t* work) {
  const Workspace space = split(work, head.length, head.width);
  const int64_t room = padded(head.length), steps = head.width / 4;
  pack_keys(head, scales, space);
  for (int64_t t = 0; t < head.length; ++t)
    std::copy_n(head.v + t * head.stride, head.width, space.values + t * head.width);
  // Scores in powers of two.
  const __m512 scale = _mm512_set1_ps(scales.q_step * scales.k_step * kLog2E);
  const float offset = -scales.out_low / scales.out_step;
  for_tiles(head.queries, [&](auto count, int64_t row, int64_t) PARAPET_VNNI {
    for (int64_t t = 0; t < room; t += kPanel)
      tile(count, head.q + row * head.stride, head.stride, space.keys + t * head.width, steps,
           space.keys, [&](int64_t i, int64_t j, __m512i sums) PARAPET_VNNI {
             _mm512_storeu_ps(space.scores + i * room + t + j,
                              _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), scale,
                                              _mm512_loadu_ps(space.shift + t + j)));
           });
    float gain[kTile];
    for (int64_t i = 0; i < count; ++i)
      gain[i] = exponentials(space.scores + i * room,
                             head.causal ? std::min(head.length, row + i + 1) : head.length, room) /
                scales.out_step;
    uint8_t* out = head.out + row * head.stride;
    int64_t column = 0;
    for (; column + kPanel <= head.width; column += kPanel)
      tile(count, space.scores, room, space.values + column, head.width, head.length,
           [&](int64_t i, int64_t j, __m512 sums) PARAPET_VNNI {
             store_bytes(out + i * head.stride + column + j,
                         _mm512_fmadd_ps(sums, _mm512_set1_ps(gain[i]), _mm512_set1_ps(offset)));
           });
    narrow_values(head, space.scores, space.values, room, count, column, gain, offset, out);
  });
}

}  // namespace parapet::int8

#endif

#include "parapet/engine/int8_kernels.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "parapet/core/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
// g++ 12's own intrinsics start from a value they call undefined; the warning is about that.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace parapet::int8 {

Linear pack(const at::Tensor& weight, const at::Tensor& bias, float low, float step) {
  const at::Tensor w = weight.to(at::kFloat).contiguous();
  const at::Tensor per_level = w.abs().amax({1}).clamp_min(1e-8).div_(127);
  const at::Tensor levels = at::round(w / per_level.unsqueeze(1)).clamp_(-127, 127);
  Linear linear{w.size(1), w.size(0), {}, {}, {}};
  linear.levels = levels.to(at::kChar)
                      .view({linear.outputs / kPanel, kPanel, linear.inputs / 4, 4})
                      .permute({0, 2, 1, 3})
                      .contiguous();
  linear.scale = per_level * step;
  linear.shift = per_level * levels.sum(1) * low;
  if (bias.defined()) linear.shift += bias.to(at::kFloat);
  return linear;
}

void scale_output(Linear& linear, float low, float step, float offset) {
  linear.scale = linear.scale / step;
  linear.shift = (linear.shift - low) / step + offset;
}

#if defined(__x86_64__)

#define PARAPET_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define PARAPET_VNNI_INLINE PARAPET_VNNI __attribute__((always_inline)) inline

bool supported() {
  return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

bool has_matrix_unit() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 25 & 1U) != 0;
}

namespace {

constexpr int64_t kTile = 6;  // rows of a tile; with 64 columns its sums fill 24 of 32 registers

// Not the intrinsics: with them g++ 12 copies and spills the sums at every step.
PARAPET_VNNI_INLINE void multiply_add(__m512i& sums, __m512i bytes, __m512i levels) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(bytes), "v"(levels));
}
PARAPET_VNNI_INLINE void multiply_add(__m512& sums, __m512 a, __m512 b) {
  asm("vfmadd231ps %2, %1, %0" : "+v"(sums) : "v"(a), "v"(b));
}
PARAPET_VNNI_INLINE __m512i four_bytes(const uint8_t* bytes) {
  int32_t value;
  std::memcpy(&value, bytes, 4);
  return _mm512_set1_epi32(value);
}

// Sums are named, not in an array, for the same reason; hence one function per number of rows.
#define PARAPET_ROWS_1(X) X(0)
#define PARAPET_ROWS_2(X) PARAPET_ROWS_1(X) X(1)
#define PARAPET_ROWS_3(X) PARAPET_ROWS_2(X) X(2)
#define PARAPET_ROWS_4(X) PARAPET_ROWS_3(X) X(3)
#define PARAPET_ROWS_5(X) PARAPET_ROWS_4(X) X(4)
#define PARAPET_ROWS_6(X) PARAPET_ROWS_5(X) X(5)

template <int kRows>
using RowCount = std::integral_constant<int, kRows>;

#define PARAPET_ZERO(i) __m512i s##i##0 = zero, s##i##1 = zero, s##i##2 = zero, s##i##3 = zero;
#define PARAPET_STEP(i)                                \
  {                                                    \
    const __m512i bytes = four_bytes(in + (i)*stride); \
    multiply_add(s##i##0, bytes, b0);                  \
    multiply_add(s##i##1, bytes, b1);                  \
    multiply_add(s##i##2, bytes, b2);                  \
    multiply_add(s##i##3, bytes, b3);                  \
  }
#define PARAPET_STORE(i) \
  store(i, 0, s##i##0);  \
  store(i, 16, s##i##1); \
  store(i, 32, s##i##2); \
  store(i, 48, s##i##3);
// Rows of bytes `stride` apart times one panel of `steps` groups of four.
#define PARAPET_TILE(kRows)                                                                   \
  template <class Store>                                                                      \
  PARAPET_VNNI_INLINE void tile(RowCount<kRows>, const uint8_t* in, int64_t stride,           \
                                const int8_t* panel, int64_t steps, const Store& store) {     \
    const __m512i zero = _mm512_setzero_si512();                                              \
    PARAPET_ROWS_##kRows(PARAPET_ZERO) for (int64_t step = 0; step < steps; ++step) {         \
      const __m512i b0 = _mm512_load_si512(panel), b1 = _mm512_load_si512(panel + 64),        \
                    b2 = _mm512_load_si512(panel + 128), b3 = _mm512_load_si512(panel + 192); \
      PARAPET_ROWS_##kRows(PARAPET_STEP) panel += 4 * kPanel;                                 \
      in += 4;                                                                                \
    }                                                                                         \
    PARAPET_ROWS_##kRows(PARAPET_STORE)                                                       \
  }
PARAPET_TILE(1)
PARAPET_TILE(2)
PARAPET_TILE(3)
PARAPET_TILE(4)
PARAPET_TILE(5)
PARAPET_TILE(6)

#define PARAPET_ZERO_FLOAT(i) __m512 s##i##0 = zero, s##i##1 = zero, s##i##2 = zero, s##i##3 = zero;
#define PARAPET_STEP_FLOAT(i)                                   \
  {                                                             \
    const __m512 value = _mm512_set1_ps(in[(i)*stride + step]); \
    multiply_add(s##i##0, value, b0);                           \
    multiply_add(s##i##1, value, b1);                           \
    multiply_add(s##i##2, value, b2);                           \
    multiply_add(s##i##3, value, b3);                           \
  }
// Float rows times 64 columns of a float matrix whose rows are `pitch` apart.
#define PARAPET_TILE_FLOAT(kRows)                                                           \
  template <class Store>                                                                    \
  PARAPET_VNNI_INLINE void tile(RowCount<kRows>, const float* in, int64_t stride,           \
                                const float* matrix, int64_t pitch, int64_t steps,          \
                                const Store& store) {                                       \
    const __m512 zero = _mm512_setzero_ps();                                                \
    PARAPET_ROWS_##kRows(PARAPET_ZERO_FLOAT) for (int64_t step = 0; step < steps; ++step) { \
      const __m512 b0 = _mm512_loadu_ps(matrix), b1 = _mm512_loadu_ps(matrix + 16),         \
                   b2 = _mm512_loadu_ps(matrix + 32), b3 = _mm512_loadu_ps(matrix + 48);    \
      PARAPET_ROWS_##kRows(PARAPET_STEP_FLOAT) matrix += pitch;                             \
    }                                                                                       \
    PARAPET_ROWS_##kRows(PARAPET_STORE)                                                     \
  }
PARAPET_TILE_FLOAT(1)
PARAPET_TILE_FLOAT(2)
PARAPET_TILE_FLOAT(3)
PARAPET_TILE_FLOAT(4)
PARAPET_TILE_FLOAT(5)
PARAPET_TILE_FLOAT(6)

// fn(RowCount<r>, first row) over tiles that differ by at most one row: 50 rows are 5 tiles of 6
// and 4 of 5, not 8 of 6 and one of 2.
template <class Fn>
PARAPET_VNNI_INLINE void for_tiles(int64_t rows, const Fn& fn) {
  const int64_t tiles = (rows + kTile - 1) / kTile;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t begin = rows * t / tiles;
    switch (rows * (t + 1) / tiles - begin) {
      case 1:
        fn(RowCount<1>(), begin);
        break;
      case 2:
        fn(RowCount<2>(), begin);
        break;
      case 3:
        fn(RowCount<3>(), begin);
        break;
      case 4:
        fn(RowCount<4>(), begin);
        break;
      case 5:
        fn(RowCount<5>(), begin);
        break;
      default:
        fn(RowCount<6>(), begin);
    }
  }
}

// e^x to about 1e-7; x is cut to the range of normal numbers.
PARAPET_VNNI_INLINE __m512 exp_of(__m512 x) {
  x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.0F)), _mm512_set1_ps(88.0F));
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504F)), 0);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375F), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4F), r);
  __m512 p = _mm512_set1_ps(1.9875691500e-4F);  // Cephes' expf
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1F));
  p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1)));
  return _mm512_scalef_ps(p, n);
}

// 1 / x by an estimate and one Newton step.
PARAPET_VNNI_INLINE __m512 inverse(__m512 x) {
  const __m512 r = _mm512_rcp14_ps(x);
  return _mm512_mul_ps(r, _mm512_fnmadd_ps(x, r, _mm512_set1_ps(2)));
}

// x / (1 + e^-t)
PARAPET_VNNI_INLINE __m512 gated(__m512 x, __m512 t) {
  const __m512 e = exp_of(_mm512_sub_ps(_mm512_setzero_ps(), t));
  return _mm512_mul_ps(x, inverse(_mm512_add_ps(e, _mm512_set1_ps(1))));
}

// Abramowitz and Stegun 7.1.26, off by at most 1.5e-7.
PARAPET_VNNI_INLINE __m512 erf_of(__m512 x) {
  const __m512 size = _mm512_abs_ps(x), one = _mm512_set1_ps(1);
  const __m512 t = inverse(_mm512_fmadd_ps(size, _mm512_set1_ps(0.3275911F), one));
  __m512 p = _mm512_set1_ps(1.061405429F);
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-1.453152027F));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.421413741F));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.284496736F));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.254829592F));
  const __m512 tail = exp_of(_mm512_fnmadd_ps(size, size, _mm512_setzero_ps()));
  const __m512 value = _mm512_fnmadd_ps(_mm512_mul_ps(p, t), tail, one);
  return _mm512_or_ps(value, _mm512_and_ps(x, _mm512_set1_ps(-0.0F)));
}

template <nn::Activation kActivation>
PARAPET_VNNI_INLINE __m512 activated(__m512 x) {
  using A = nn::Activation;
  if constexpr (kActivation == A::kQuickGelu)
    return gated(x, _mm512_mul_ps(x, _mm512_set1_ps(1.702F)));
  if constexpr (kActivation == A::kSilu) return gated(x, x);
  if constexpr (kActivation == A::kRelu) return _mm512_max_ps(x, _mm512_setzero_ps());
  if constexpr (kActivation == A::kGelu) {
    const __m512 half = _mm512_mul_ps(x, _mm512_set1_ps(0.5F));
    return _mm512_fmadd_ps(half, erf_of(_mm512_mul_ps(x, _mm512_set1_ps(0.70710678F))), half);
  }
  // 0.5 x (1 + tanh u) = x / (1 + e^-2u)
  const __m512 cube = _mm512_mul_ps(x, _mm512_mul_ps(x, x));
  const __m512 u = _mm512_fmadd_ps(cube, _mm512_set1_ps(0.044715F), x);
  return gated(x, _mm512_mul_ps(u, _mm512_set1_ps(1.5957691216F)));
}

PARAPET_VNNI_INLINE void store_bytes(uint8_t* out, __m512 x) {
  const __m512i level = _mm512_max_epi32(_mm512_cvtps_epi32(x), _mm512_setzero_si512());
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtusepi32_epi8(level));
}

// put(row, column, y) for the panels' outputs y of every row.
template <class Put>
PARAPET_VNNI_INLINE void for_outputs(const Linear& linear, const uint8_t* in, int64_t rows,
                                     Range panels, const Put& put) {
  const int64_t steps = linear.inputs / 4;
  const auto* levels = linear.levels.const_data_ptr<int8_t>();
  const auto* scale = linear.scale.const_data_ptr<float>();
  const auto* shift = linear.shift.const_data_ptr<float>();
  for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
    const int64_t column = panel * kPanel;
    const int8_t* weights = levels + column * linear.inputs;
    for_tiles(rows, [&](auto count, int64_t row) PARAPET_VNNI {
      tile(count, in + row * linear.inputs, linear.inputs, weights, steps,
           [&](int64_t i, int64_t j, __m512i sums) PARAPET_VNNI {
             put(row + i, column + j,
                 _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), _mm512_loadu_ps(scale + column + j),
                                 _mm512_loadu_ps(shift + column + j)));
           });
    });
  }
}

template <nn::Activation kActivation>
PARAPET_VNNI void activated_bytes(const Linear& linear, const uint8_t* in, int64_t rows,
                                  const float* gain, float offset, uint8_t* out, Range panels) {
  for_outputs(linear, in, rows, panels, [&](int64_t row, int64_t column, __m512 y) PARAPET_VNNI {
    store_bytes(out + row * linear.outputs + column,
                _mm512_fmadd_ps(activated<kActivation>(y), _mm512_loadu_ps(gain + column),
                                _mm512_set1_ps(offset)));
  });
}

}  // namespace

PARAPET_VNNI void product(const Linear& linear, const uint8_t* in, int64_t rows, float* out,
                          Range panels) {
  for_outputs(linear, in, rows, panels, [&](int64_t row, int64_t column, __m512 y) PARAPET_VNNI {
    _mm512_storeu_ps(out + row * linear.outputs + column, y);
  });
}

PARAPET_VNNI void product_add(const Linear& linear, const uint8_t* in, int64_t rows, float* out,
                              Range panels) {
  for_outputs(linear, in, rows, panels, [&](int64_t row, int64_t column, __m512 y) PARAPET_VNNI {
    float* place = out + row * linear.outputs + column;
    _mm512_storeu_ps(place, _mm512_add_ps(_mm512_loadu_ps(place), y));
  });
}

PARAPET_VNNI void product_bytes(const Linear& linear, const uint8_t* in, int64_t rows, uint8_t* out,
                                Range panels) {
  for_outputs(linear, in, rows, panels, [&](int64_t row, int64_t column, __m512 y) PARAPET_VNNI {
    store_bytes(out + row * linear.outputs + column, y);
  });
}

PARAPET_VNNI void product_signed(const Linear& linear, const uint8_t* in, int64_t rows, int8_t* out,
                                 Range panels) {
  for_outputs(linear, in, rows, panels, [&](int64_t row, int64_t column, __m512 y) PARAPET_VNNI {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + row * linear.outputs + column),
                     _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(y)));
  });
}

void product_activated(const Linear& linear, const uint8_t* in, int64_t rows,
                       nn::Activation activation, const float* gain, float offset, uint8_t* out,
                       Range panels) {
  using A = nn::Activation;
  switch (activation) {
    case A::kQuickGelu:
      return activated_bytes<A::kQuickGelu>(linear, in, rows, gain, offset, out, panels);
    case A::kGelu:
      return activated_bytes<A::kGelu>(linear, in, rows, gain, offset, out, panels);
    case A::kGeluTanh:
      return activated_bytes<A::kGeluTanh>(linear, in, rows, gain, offset, out, panels);
    case A::kSilu:
      return activated_bytes<A::kSilu>(linear, in, rows, gain, offset, out, panels);
    case A::kRelu:
      return activated_bytes<A::kRelu>(linear, in, rows, gain, offset, out, panels);
  }
}

namespace {

// put(column, y) over one normalised row.
template <class Put>
PARAPET_VNNI_INLINE void normalise_row(const Norm& norm, const float* in, int64_t width,
                                       const Put& put) {
  __m512 sum = _mm512_setzero_ps(), squares = sum;
  for (int64_t c = 0; c < width; c += 16) sum = _mm512_add_ps(sum, _mm512_loadu_ps(in + c));
  const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / static_cast<float>(width));
  for (int64_t c = 0; c < width; c += 16) {
    const __m512 x = _mm512_sub_ps(_mm512_loadu_ps(in + c), mean);
    squares = _mm512_fmadd_ps(x, x, squares);
  }
  const float variance = _mm512_reduce_add_ps(squares) / static_cast<float>(width);
  const __m512 scale = _mm512_set1_ps(1.0F / std::sqrt(variance + norm.eps));
  const auto* gain = norm.gain.const_data_ptr<float>();
  const auto* shift = norm.shift.const_data_ptr<float>();
  for (int64_t c = 0; c < width; c += 16) {
    const __m512 x = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(in + c), mean), scale);
    put(c, _mm512_fmadd_ps(x, _mm512_loadu_ps(gain + c), _mm512_loadu_ps(shift + c)));
  }
}

}  // namespace

PARAPET_VNNI void normalise(const Norm& norm, const float* in, int64_t width, float* out,
                            Range rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    normalise_row(norm, in + row * width, width, [&](int64_t c, __m512 y) PARAPET_VNNI {
      _mm512_storeu_ps(out + row * width + c, y);
    });
}

PARAPET_VNNI void normalise_bytes(const Norm& norm, const float* in, int64_t width, uint8_t* out,
                                  Range rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    normalise_row(norm, in + row * width, width,
                  [&](int64_t c, __m512 y) PARAPET_VNNI { store_bytes(out + row * width + c, y); });
}

PARAPET_VNNI void project(const float* matrix, const float* in, int64_t rows, int64_t inputs,
                          int64_t outputs, float* out, Range panels) {
  for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
    const int64_t column = panel * kPanel;
    for_tiles(rows, [&](auto count, int64_t row) PARAPET_VNNI {
      tile(count, in + row * inputs, inputs, matrix + column, outputs, inputs,
           [&](int64_t i, int64_t j, __m512 sums)
               PARAPET_VNNI { _mm512_storeu_ps(out + (row + i) * outputs + column + j, sums); });
    });
  }
}

namespace {

int64_t padded(int64_t length) { return (length + kPanel - 1) / kPanel * kPanel; }

constexpr float kUnseen = -1e30F;

struct Workspace {
  int8_t* keys;   // [padded / 64][width / 4][64][4]
  float* shift;   // [padded]
  float* scores;  // [6][padded]
};

Workspace split(uint8_t* work, int64_t length, int64_t width) {
  const int64_t room = padded(length);
  auto* shift = reinterpret_cast<float*>(work + room * width);
  return {reinterpret_cast<int8_t*>(work), shift, shift + room};
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
        t < head.length ? scales.q_low * scales.k_step * static_cast<float>(sum) : kUnseen;
  }
}

// e^(score - largest) of the first `seen` keys, 0 behind them; returns one over their sum.
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
        _mm512_maskz_mov_ps(mask_at(c), exp_of(_mm512_sub_ps(_mm512_loadu_ps(scores + c), top)));
    sum = _mm512_add_ps(sum, e);
    _mm512_storeu_ps(scores + c, e);
  }
  return 1.0F / _mm512_reduce_add_ps(sum);
}

// Values times probabilities for the columns that no full panel holds.
PARAPET_VNNI_INLINE void narrow_values(const Head& head, const float* scores, int64_t room,
                                       int64_t rows, int64_t first, const float* gain, float offset,
                                       uint8_t* out) {
  for (int64_t c = first; c < head.width; c += 16) {
    const int64_t left = head.width - c;
    const auto mask = static_cast<__mmask16>(left >= 16 ? 0xffff : (1 << left) - 1);
    for (int64_t i = 0; i < rows; ++i) {
      __m512 sum = _mm512_setzero_ps();
      for (int64_t t = 0; t < head.length; ++t)
        sum = _mm512_fmadd_ps(_mm512_set1_ps(scores[i * room + t]),
                              _mm512_maskz_loadu_ps(mask, head.v + t * head.stride + c), sum);
      const __m512 y = _mm512_fmadd_ps(sum, _mm512_set1_ps(gain[i]), _mm512_set1_ps(offset));
      const __m512i level = _mm512_max_epi32(_mm512_cvtps_epi32(y), _mm512_setzero_si512());
      _mm512_mask_cvtusepi32_storeu_epi8(out + i * head.stride + c, mask, level);
    }
  }
}

}  // namespace

int64_t attention_work(int64_t length, int64_t width) {
  const int64_t room = padded(length);
  return room * width + room * static_cast<int64_t>(sizeof(float)) * (1 + kTile);
}

PARAPET_VNNI void attend(const Head& head, const AttentionScales& scales, uint8_t* work) {
  const Workspace space = split(work, head.length, head.width);
  const int64_t room = padded(head.length), steps = head.width / 4;
  pack_keys(head, scales, space);
  const __m512 scale = _mm512_set1_ps(scales.q_step * scales.k_step);
  const float offset = -scales.out_low / scales.out_step;
  for_tiles(head.queries, [&](auto count, int64_t row) PARAPET_VNNI {
    for (int64_t t = 0; t < room; t += kPanel)
      tile(count, head.q + row * head.stride, head.stride, space.keys + t * head.width, steps,
           [&](int64_t i, int64_t j, __m512i sums) PARAPET_VNNI {
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
      tile(count, space.scores, room, head.v + column, head.stride, head.length,
           [&](int64_t i, int64_t j, __m512 sums) PARAPET_VNNI {
             store_bytes(out + i * head.stride + column + j,
                         _mm512_fmadd_ps(sums, _mm512_set1_ps(gain[i]), _mm512_set1_ps(offset)));
           });
    narrow_values(head, space.scores, room, count, column, gain, offset, out);
  });
}

#else

bool supported() { return false; }
bool has_matrix_unit() { return false; }

namespace {
[[noreturn]] void unsupported() {
  throw Error(ErrorKind::kInternal, "int8 kernels were called on a processor without them");
}
}  // namespace

void product(const Linear&, const uint8_t*, int64_t, float*, Range) { unsupported(); }
void product_add(const Linear&, const uint8_t*, int64_t, float*, Range) { unsupported(); }
void product_bytes(const Linear&, const uint8_t*, int64_t, uint8_t*, Range) { unsupported(); }
void product_signed(const Linear&, const uint8_t*, int64_t, int8_t*, Range) { unsupported(); }
void product_activated(const Linear&, const uint8_t*, int64_t, nn::Activation, const float*, float,
                       uint8_t*, Range) {
  unsupported();
}
void normalise(const Norm&, const float*, int64_t, float*, Range) { unsupported(); }
void normalise_bytes(const Norm&, const float*, int64_t, uint8_t*, Range) { unsupported(); }
int64_t attention_work(int64_t, int64_t) { return 0; }
void attend(const Head&, const AttentionScales&, uint8_t*) { unsupported(); }
void project(const float*, const float*, int64_t, int64_t, int64_t, float*, Range) {
  unsupported();
}

#endif

}  // namespace parapet::int8

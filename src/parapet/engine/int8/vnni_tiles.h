// What the int8 kernels are made of: products of a few rows with 64 columns, in registers. x86-64
// only; for the kernels' own sources.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "parapet/engine/int8/int8_types.h"

// g++ 12's own intrinsics start from a value they call undefined; the warning is about that.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#define PARAPET_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define PARAPET_VNNI_INLINE PARAPET_VNNI __attribute__((always_inline)) inline

namespace parapet::int8 {

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
// Rows of bytes `stride` apart times one panel of `steps` groups of four. `ahead` is what will be
// read later: a cache line of it is fetched at every step, as far as the second cache.
#define PARAPET_TILE(kRows)                                                                   \
  template <class Store>                                                                      \
  PARAPET_VNNI_INLINE void tile(RowCount<kRows>, const uint8_t* in, int64_t stride,           \
                                const int8_t* panel, int64_t steps, const int8_t* ahead,      \
                                const Store& store) {                                         \
    const __m512i zero = _mm512_setzero_si512();                                              \
    PARAPET_ROWS_##kRows(PARAPET_ZERO) for (int64_t step = 0; step < steps; ++step) {         \
      const __m512i b0 = _mm512_load_si512(panel), b1 = _mm512_load_si512(panel + 64),        \
                    b2 = _mm512_load_si512(panel + 128), b3 = _mm512_load_si512(panel + 192); \
      _mm_prefetch(ahead + 64 * step, _MM_HINT_T1);                                           \
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

// fn(RowCount<r>, first row, number) over tiles that differ by at most one row: 50 rows are 5 tiles
// of 6 and 4 of 5, not 8 of 6 and one of 2.
template <class Fn>
PARAPET_VNNI_INLINE void for_tiles(int64_t rows, const Fn& fn) {
  const int64_t tiles = (rows + kTile - 1) / kTile;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t begin = rows * t / tiles;
    switch (rows * (t + 1) / tiles - begin) {
      case 1:
        fn(RowCount<1>(), begin, t);
        break;
      case 2:
        fn(RowCount<2>(), begin, t);
        break;
      case 3:
        fn(RowCount<3>(), begin, t);
        break;
      case 4:
        fn(RowCount<4>(), begin, t);
        break;
      case 5:
        fn(RowCount<5>(), begin, t);
        break;
      default:
        fn(RowCount<6>(), begin, t);
    }
  }
}

// 2^x to about 1e-7: least squares of the relative error over half a step each side. 0 and infinity
// beyond the range of floats.
PARAPET_VNNI_INLINE __m512 exp2_of(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(x, 0), r = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(1.326697039e-3F);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.675459746e-3F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.550742616e-2F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.402212175e-1F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.931469492e-1F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.000000071F));
  return _mm512_scalef_ps(p, n);
}

constexpr float kLog2E = 1.44269504F;

// 1 / x by an estimate and one Newton step.
PARAPET_VNNI_INLINE __m512 inverse(__m512 x) {
  const __m512 r = _mm512_rcp14_ps(x);
  return _mm512_mul_ps(r, _mm512_fnmadd_ps(x, r, _mm512_set1_ps(2)));
}

PARAPET_VNNI_INLINE void store_bytes(uint8_t* out, __m512 x) {
  const __m512i level = _mm512_max_epi32(_mm512_cvtps_epi32(x), _mm512_setzero_si512());
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtusepi32_epi8(level));
}

}  // namespace parapet::int8

#include "parapet/evaluation/exact_dot.h"

#include "parapet/core/cpu_features.h"

#if defined(__x86_64__)
#include <immintrin.h>
// g++ 12's own intrinsics start from a value they call undefined; the warning is about that.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace parapet {
namespace {

constexpr int64_t kLanes = 16;

double finish(const double* lanes, const float* a, const float* b, int64_t from, int64_t n) {
  double sum = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) sum += lanes[lane];
  for (int64_t i = from; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

double dot_portable(const float* a, const float* b, int64_t n) {
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] += static_cast<double>(a[i + lane]) * static_cast<double>(b[i + lane]);
  return finish(lanes, a, b, i, n);
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) double dot_avx512(const float* a, const float* b, int64_t n) {
  __m512d low = _mm512_setzero_pd();
  __m512d high = _mm512_setzero_pd();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    low = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_loadu_ps(a + i)),
                          _mm512_cvtps_pd(_mm256_loadu_ps(b + i)), low);
    high = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_loadu_ps(a + i + 8)),
                           _mm512_cvtps_pd(_mm256_loadu_ps(b + i + 8)), high);
  }
  alignas(64) double lanes[kLanes];
  _mm512_store_pd(lanes, low);
  _mm512_store_pd(lanes + 8, high);
  return finish(lanes, a, b, i, n);
}

__attribute__((target("avx512f"))) float quick_avx512(const float* a, const float* b, int64_t n) {
  __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), s0);
    s1 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16), s1);
    s2 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 32), _mm512_loadu_ps(b + i + 32), s2);
    s3 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 48), _mm512_loadu_ps(b + i + 48), s3);
  }
  for (; i < n; i += 16) {
    const auto mask = static_cast<__mmask16>(n - i >= 16 ? 0xffff : (1 << (n - i)) - 1);
    s0 =
        _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, a + i), _mm512_maskz_loadu_ps(mask, b + i), s0);
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
}
#endif

}  // namespace

double exact_dot(const float* a, const float* b, int64_t n) {
#if defined(__x86_64__)
  static const bool wide = cpu_features().avx512f;
  if (wide) return dot_avx512(a, b, n);
#endif
  return dot_portable(a, b, n);
}

float quick_dot(const float* a, const float* b, int64_t n) {
#if defined(__x86_64__)
  static const bool wide = cpu_features().avx512f;
  if (wide) return quick_avx512(a, b, n);
#endif
  return static_cast<float>(dot_portable(a, b, n));
}

}  // namespace parapet

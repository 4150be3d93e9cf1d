#include "parapet/nn/quick_gelu_kernel.h"

#include <bit>

#include "parapet/core/target_clones.h"

// One copy of each loop per instruction set, chosen when the program starts.
#define PARAPET_CLONES PARAPET_TARGET_CLONES("arch=x86-64-v4", "arch=x86-64-v3", "default")

namespace parapet::nn {
namespace {

// exp by 2^n times a polynomial on [-ln2/2, ln2/2] (degree 6, relative error 2e-7), without
// branches, so that the compiler vectorises it.
inline float fast_exp(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  const float shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: rounds to an integer
  const float n = shifted - 12582912.0f;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const auto bits = static_cast<int32_t>(n) + 127;
  return p * std::bit_cast<float>(bits << 23);
}

inline float sigmoid(float x) { return 1.0f / (1.0f + fast_exp(-kQuickGeluSlope * x)); }

}  // namespace

PARAPET_CLONES void quick_gelu_forward(const float* __restrict x, float* __restrict y,
                                       int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = x[i] * sigmoid(x[i]);
}

PARAPET_CLONES void quick_gelu_backward(const float* __restrict x, const float* __restrict dy,
                                        float* __restrict dx, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const float s = sigmoid(x[i]);
    dx[i] = dy[i] * (s + kQuickGeluSlope * x[i] * s * (1.0f - s));
  }
}

}  // namespace parapet::nn

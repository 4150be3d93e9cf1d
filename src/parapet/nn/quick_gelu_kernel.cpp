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

inline float value(float x) { return x * sigmoid(x); }

inline float derivative(float x, float dy) {
  const float s = sigmoid(x);
  return dy * (s + kQuickGeluSlope * x * s * (1.0f - s));
}

inline float widen(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

inline uint16_t narrow(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<uint16_t>(x == x ? rounded : 0x7fc0u);
}

}  // namespace

PARAPET_CLONES void quick_gelu_forward(const float* __restrict x, float* __restrict y,
                                       int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = value(x[i]);
}

PARAPET_CLONES void quick_gelu_backward(const float* __restrict x, const float* __restrict dy,
                                        float* __restrict dx, int64_t count) {
  for (int64_t i = 0; i < count; ++i) dx[i] = derivative(x[i], dy[i]);
}

PARAPET_CLONES void quick_gelu_forward_bf16(const uint16_t* __restrict x, uint16_t* __restrict y,
                                            int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = narrow(value(widen(x[i])));
}

PARAPET_CLONES void quick_gelu_backward_bf16(const uint16_t* __restrict x,
                                             const uint16_t* __restrict dy, uint16_t* __restrict dx,
                                             int64_t count) {
  for (int64_t i = 0; i < count; ++i) dx[i] = narrow(derivative(widen(x[i]), widen(dy[i])));
}

}  // namespace parapet::nn

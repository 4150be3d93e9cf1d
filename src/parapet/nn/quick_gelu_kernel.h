// x * sigmoid(1.702 x) and its derivative in one pass over memory each: torch's composition of five
// to ten element-wise operations is bound by memory traffic. Arithmetic is float32 for bfloat16
// too, where the composition would also round each of its steps to eight bits.
#pragma once
#include <cstdint>

namespace parapet::nn {

inline constexpr float kQuickGeluSlope = 1.702f;

// y[i] = x[i] * sigmoid(slope x[i]); relative error below 1e-6.
void quick_gelu_forward(const float* x, float* y, int64_t count);
// dx[i] = dy[i] * (s + slope x s (1 - s)), s = sigmoid(slope x).
void quick_gelu_backward(const float* x, const float* dy, float* dx, int64_t count);

// The same over the bits of bfloat16 values; one rounding, of the result, to the nearest even.
void quick_gelu_forward_bf16(const uint16_t* x, uint16_t* y, int64_t count);
void quick_gelu_backward_bf16(const uint16_t* x, const uint16_t* dy, uint16_t* dx, int64_t count);

}  // namespace parapet::nn

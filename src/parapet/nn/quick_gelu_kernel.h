// x * sigmoid(1.702 x) and its derivative in one pass over memory each. Plain float32 loops:
// torch's composition of five to ten element-wise operations is bound by memory traffic.
#pragma once
#include <cstdint>

namespace parapet::nn {

inline constexpr float kQuickGeluSlope = 1.702f;

// y[i] = x[i] * sigmoid(slope x[i]); relative error below 1e-6.
void quick_gelu_forward(const float* x, float* y, int64_t count);
// dx[i] = dy[i] * (s + slope x s (1 - s)), s = sigmoid(slope x).
void quick_gelu_backward(const float* x, const float* dy, float* dx, int64_t count);

}  // namespace parapet::nn

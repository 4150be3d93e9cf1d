// The inner product that decides rankings: float32 rows, double sums in one fixed order, the same
// on every processor (products of two floats are exact in double).
#pragma once
#include <cstdint>

namespace parapet {

double exact_dot(const float* a, const float* b, int64_t n);

}  // namespace parapet

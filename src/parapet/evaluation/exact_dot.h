// The inner product that decides rankings: float32 rows, double sums in one fixed order, the same
// on every processor (products of two floats are exact in double).
#pragma once
#include <cstdint>

namespace parapet {

double exact_dot(const float* a, const float* b, int64_t n);

// The same in float32, several times faster: off by at most (n / 64 + 8) * 2^-24 * |a||b|, so
// within 5e-6 |a||b| up to n = 4,096. Only to rule pairs out.
float quick_dot(const float* a, const float* b, int64_t n);

}  // namespace parapet

#include "parapet/metrics/estimate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "parapet/core/error.h"

namespace parapet {
namespace {

// Inverse of the standard normal distribution by bisection of erf; exact to 1e-12.
double normal_quantile(double p) {
  double low = -10, high = 10;
  while (high - low > 1e-12) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace

Estimate wilson_share(int64_t hits, int64_t n, double level) {
  if (n == 0) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    return {nan, nan, nan, 0};
  }
  const double z = normal_quantile(0.5 + level / 2), count = static_cast<double>(n);
  const double p = static_cast<double>(hits) / count;
  const double scale = 1 / (1 + z * z / count);
  const double centre = (p + z * z / (2 * count)) * scale;
  const double half = z * std::sqrt(p * (1 - p) / count + z * z / (4 * count * count)) * scale;
  return {p, hits == 0 ? 0.0 : centre - half, hits == n ? 1.0 : centre + half, n};
}

}  // namespace parapet

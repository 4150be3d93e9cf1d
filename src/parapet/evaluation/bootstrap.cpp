#include "parapet/evaluation/bootstrap.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "parapet/core/error.h"
#include "parapet/core/options.h"
#include "parapet/core/random.h"

namespace parapet {
namespace {

// How often each item is drawn in each of `count` resamples: float32 [count, n].
at::Tensor draw_counts(Random& random, int64_t count, int64_t n) {
  at::Tensor counts = at::zeros({count, n});
  float* row = counts.data_ptr<float>();
  for (int64_t r = 0; r < count; ++r, row += n)
    for (int64_t i = 0; i < n; ++i) row[random.below(static_cast<uint64_t>(n))] += 1;
  return counts;
}

// Linear between order statistics.
double quantile(const double* sorted, int64_t n, double p) {
  const double at = p * static_cast<double>(n - 1);
  const auto below = static_cast<int64_t>(at);
  const int64_t above = std::min(below + 1, n - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

std::vector<Estimate> bootstrap_means(const at::Tensor& values, const BootstrapOptions& options) {
  Problems problems;
  problems.require(options.resamples >= 2, "resamples", "must be >= 2");
  problems.require(options.level > 0 && options.level < 1, "level", "must be in (0, 1)");
  problems.require(values.dim() == 2, "values", "must be [metrics, n]");
  problems.throw_if_any("bootstrap");
  const int64_t metrics = values.size(0), n = values.size(1);
  if (n == 0) return std::vector<Estimate>(static_cast<size_t>(metrics), wilson_share(0, 0));
  const at::Tensor rows = values.to(at::kFloat).contiguous();
  if (!at::isfinite(rows).all().item<bool>())
    throw DataError("metric values", "are not all finite", "An embedding holds NaN or infinity.");
  const at::Tensor centre = rows.to(at::kDouble).mean(1, true);
  // Deviations, so that float32 sums stay exact enough for values with a large mean.
  const at::Tensor deviations = (rows - centre).to(at::kFloat).t().contiguous();

  at::Tensor means = at::empty({options.resamples, metrics}, at::kDouble);
  Random random = Random::named(options.seed, "bootstrap");
  const int64_t block = std::max<int64_t>(1, std::min<int64_t>(options.resamples, (8 << 20) / n));
  for (int64_t r = 0; r < options.resamples; r += block) {
    const int64_t count = std::min(block, options.resamples - r);
    const at::Tensor sums = at::mm(draw_counts(random, count, n), deviations);
    means.narrow(0, r, count).copy_(sums.to(at::kDouble) / static_cast<double>(n));
  }
  const at::Tensor sorted = std::get<0>(means.t().contiguous().sort(1));
  std::vector<Estimate> estimates;
  for (int64_t m = 0; m < metrics; ++m) {
    const double value = centre[m][0].item<double>();
    const double least = rows[m].min().item<float>(), most = rows[m].max().item<float>();
    const bool constant = least == most;
    if (constant && (value == 0 || value == 1)) {
      estimates.push_back(wilson_share(value == 0 ? 0 : n, n, options.level));
      continue;
    }
    const double* row = sorted.const_data_ptr<double>() + m * options.resamples;
    const double tail = (1 - options.level) / 2;
    // Rounding must not carry a bound beyond what any mean can be.
    const auto bound = [&](double p) {
      return std::clamp(value + quantile(row, options.resamples, p), least, most);
    };
    estimates.push_back({value, bound(tail), bound(1 - tail), n});
  }
  return estimates;
}

}  // namespace parapet

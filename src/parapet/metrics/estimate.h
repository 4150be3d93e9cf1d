// A number with its uncertainty, as every report shows it.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace parapet {

struct Estimate {
  double value = 0;
  double low = 0;  // bounds of the interval; equal to value where none applies
  double high = 0;
  int64_t n = 0;  // items behind the value; 0 = no items, value is not a number
};

struct BootstrapOptions {
  int64_t resamples = 1000;
  double level = 0.95;  // in (0, 1)
  uint64_t seed = 0;
};

// Percentile bootstrap of the mean over items (Efron and Tibshirani, An Introduction to the
// Bootstrap, section 13.3), for several quantities measured on the same items: `values` [metrics,
// n], finite. All metrics share each resample, so their differences are resampled too. A row of
// equal 0s or 1s, where every resample is the same, gets the Wilson interval instead of a width of
// zero. The same seed gives the same bounds. DataError on values that are not finite.
std::vector<Estimate> bootstrap_means(const at::Tensor& values,
                                      const BootstrapOptions& options = {});

// Wilson score interval of a share.
Estimate wilson_share(int64_t hits, int64_t n, double level = 0.95);

}  // namespace parapet

// Intervals of means over items that several quantities share.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "parapet/metrics/estimate.h"

namespace parapet {

// Percentile bootstrap of the mean over items (Efron and Tibshirani, An Introduction to the
// Bootstrap, section 13.3), for several quantities measured on the same items: `values` [metrics,
// n], finite. All metrics share each resample, so their differences are resampled too. A row of
// equal 0s or 1s, where every resample is the same, gets the Wilson interval instead of a width of
// zero. The same seed gives the same bounds. DataError on values that are not finite.
std::vector<Estimate> bootstrap_means(const at::Tensor& values,
                                      const BootstrapOptions& options = {});

}  // namespace parapet

// A number with its uncertainty, as every report shows it.
#pragma once
#include <cstdint>

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

// Wilson score interval of a share.
Estimate wilson_share(int64_t hits, int64_t n, double level = 0.95);

}  // namespace parapet

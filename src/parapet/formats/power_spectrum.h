// |FFT|^2 of real frames, several at once, side by side in the lanes of a vector register.
#pragma once
#include <cstdint>
#include <vector>

namespace parapet {

class PowerSpectrum {
 public:
  static constexpr int64_t kLanes = 4;  // frames at once

  // `size` is that of a frame: even, at least 4, without prime factors above 5. UsageError
  // otherwise.
  explicit PowerSpectrum(int64_t size);
  static bool can_be(int64_t size);
  int64_t size() const { return size_; }
  int64_t bins() const { return size_ / 2 + 1; }
  // Doubles of workspace that compute() needs.
  int64_t workspace() const { return 2 * size_ * kLanes; }
  // frames[size, kLanes] to power[bins, kLanes]. `workspace` is not read.
  void compute(const double* frames, double* power, double* workspace) const;

 private:
  struct Stage {
    int64_t radix;
    int64_t groups;                // m: transforms of `radix` points, per stride
    int64_t stride;                // s
    std::vector<double> twiddles;  // [groups, radix - 1] pairs
  };
  int64_t size_;
  std::vector<Stage> stages_;
  std::vector<double> unpack_;  // [size / 2 + 1] pairs: exp(-2 pi i k / size)
};

}  // namespace parapet

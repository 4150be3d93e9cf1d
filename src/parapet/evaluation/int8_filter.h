// Approximate inner products in 8 bits with a proven error bound, to rule out most pairs of a
// search cheaply.
//
// With gallery mean m and query mean v: q.g = q.m + v.(g - m) + (q - v).(g - m). The first term
// does not depend on g, the second is one exact number per gallery row, and only the last is
// quantised (symmetric, one scale per row). Centring matters: CLIP embeddings have a few large,
// nearly constant dimensions that would otherwise eat the 8 bits. By Cauchy-Schwarz the error is at
// most |q' - Q||g'| + |Q||g' - G| for centred rows q', g' and their dequantised values Q, G.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace parapet {

struct Candidate {
  int32_t row;     // in the query block
  int64_t column;  // in the gallery
};

class Int8Gallery {
 public:
  // Gallery and query rows per kernel call. A panel (32 x 768 bytes) stays in the first-level cache
  // while all groups of a block pass over it; 64 rows would fill it.
  static constexpr int64_t kPanel = 32;
  static constexpr int64_t kGroup = 12;

  // Whether this processor can (AVX-512 VNNI), for width `d`.
  static bool supported(int64_t d);
  // Quantises the gallery (m * d bytes) on torch's threads. `query_mean` [d] float32.
  Int8Gallery(const at::Tensor& gallery, const at::Tensor& query_mean);

  int64_t rows() const { return rows_; }
  int64_t width() const { return width_; }
  int64_t panels() const { return (rows_ + kPanel - 1) / kPanel; }

 private:
  friend class Int8Queries;
  int64_t rows_, width_, padded_;
  std::vector<float> mean_, query_mean_;
  std::vector<uint8_t> packed_;          // [panels][padded/4][kPanel][4], value + 128
  std::vector<float> scale_, constant_;  // per gallery row
  std::vector<float> norm_, residual_;   // |g'| and |g' - G|, rounded up
  double largest_ = 0;                   // at least every |g|
};

// One block of queries against panels of a gallery. Reused from block to block by one thread.
class Int8Queries {
 public:
  explicit Int8Queries(const Int8Gallery& gallery) : gallery_(gallery) {}
  // `rows` [count, d] contiguous.
  void load(const float* rows, int64_t count);
  // Appends the pairs of a panel whose score may reach thresholds[row] (raw inner product; -inf
  // lets all pass). Only rows of one group (kGroup rows from `group` * kGroup) are scanned.
  void filter(int64_t group, int64_t panel, const float* thresholds,
              std::vector<Candidate>& out) const;
  int64_t groups() const { return (count_ + Int8Gallery::kGroup - 1) / Int8Gallery::kGroup; }

 private:
  const Int8Gallery& gallery_;
  int64_t count_ = 0;
  std::vector<int8_t> packed_;                  // [groups][padded/4][kGroup][4]
  std::vector<int32_t> offset_;                 // -128 * sum of the quantised row
  std::vector<float> scale_, shift_;            // shift: q.m
  std::vector<float> residual_, norm_, slack_;  // |q' - Q|, |Q|, float rounding
};

}  // namespace parapet

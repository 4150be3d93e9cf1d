// A category from 5 to 50 examples by a closed form: ridge regression or linear discriminant
// analysis on embeddings. Knows no torch; fits in milliseconds.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace parapet {

struct FewShotOptions {
  enum class Kind { kRidge, kLda };
  Kind kind = Kind::kRidge;
  // Ridge: added to the Gram matrix of unit rows. LDA: shrinkage of the within-class covariance
  // towards its mean variance, in (0, 1].
  double strength = 0.1;
};

// logit = weight . x + bias.
struct FewShotHead {
  std::vector<float> weight;
  double bias = 0;
  double logit(std::span<const float> embedding) const;
  double score(std::span<const float> embedding) const;  // sigmoid of it
};

// `rows`: n x dim, unit rows; `labels`: n of 0 or 1, at least two of each, n <= 4096. Classes count
// alike, whatever their sizes. The scale of the logits comes from leaving each example out in turn:
// two normal distributions with a common variance, where n <= 200; from the fit itself beyond.
FewShotHead fit_few_shot(std::span<const float> rows, std::span<const uint8_t> labels, int64_t dim,
                         const FewShotOptions& options = {});

}  // namespace parapet

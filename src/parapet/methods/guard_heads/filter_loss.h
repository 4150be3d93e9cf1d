// Losses of guard heads and of keeping groups alike.
#pragma once
#include <ATen/core/Tensor.h>

#include "parapet/methods/guard_heads/filter_data.h"
#include "parapet/methods/guard_heads/head_net.h"

namespace parapet {

class FilterLoss {
 public:
  // Class weights come from the training set as it is drawn and weighed: benign / harmful per
  // output, in [1, 20]. What resampling or reweighting has balanced is not balanced again.
  FilterLoss(const FilterSet& train, at::Device device, const FilterLossOptions& options);
  // Mean over what is asked (targets >= 0), summed over image, text, explicit and implicit pair.
  at::Tensor classification(const HeadLogits& logits, const FilterTargets& targets) const;
  at::Tensor contradiction(const at::Tensor& logits, const FilterTargets& targets) const;

 private:
  FilterLossOptions options_;
  // [categories + 1]: image, text, explicit pair, implicit pair.
  std::array<at::Tensor, 4> harmful_weight_;
  at::Tensor contradiction_weight_;  // [1]
};

// Binary cross-entropy of logits against targets in {0, 1}, entries of -1 left out; focal when
// gamma > 0. `harmful_weight` multiplies entries of target 1, `row_weight` [n] whole rows. 0 when
// nothing is asked.
at::Tensor masked_bce(const at::Tensor& logits, const at::Tensor& targets,
                      const at::Tensor& harmful_weight, const at::Tensor& row_weight, double gamma);

// Group-conditional score alignment: for benign and for harmful items apart, the variance over
// groups (weighted by size) of the mean harm probability; mean over image, text and pair.
at::Tensor score_alignment(const HeadLogits& logits, const FilterTargets& targets, int64_t groups);

// Identity whose gradient is multiplied by -weight (Ganin et al., arXiv 1505.07818).
at::Tensor reverse_gradient(const at::Tensor& x, double weight);

}  // namespace parapet

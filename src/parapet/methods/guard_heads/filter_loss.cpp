#include "parapet/methods/guard_heads/filter_loss.h"

#include <ATen/ATen.h>

namespace parapet {
namespace {

constexpr double kLeastWeight = 1, kMostWeight = 20;

// Per column: how many times more benign than harmful entries there are, rows counted by `weight`
// [n, 1].
at::Tensor imbalance(const at::Tensor& targets, const at::Tensor& weight) {
  const at::Tensor harmful = (targets.eq(1) * weight).sum(0);
  const at::Tensor benign = (targets.eq(0) * weight).sum(0);
  return (benign / harmful.clamp_min(1e-6)).clamp(kLeastWeight, kMostWeight);
}

// Variance over groups of the mean of `scores`, among the rows of `mask`.
at::Tensor spread_of_means(const at::Tensor& scores, const at::Tensor& mask,
                           const at::Tensor& group, int64_t groups) {
  const at::Tensor known = (mask * group.ge(0)).to(at::kFloat);
  const at::Tensor slot = group.clamp_min(0);
  const at::Tensor sizes = at::zeros({groups}, scores.options()).index_add(0, slot, known);
  const at::Tensor sums = at::zeros({groups}, scores.options()).index_add(0, slot, scores * known);
  const at::Tensor total = sizes.sum().clamp_min(1);
  const at::Tensor means = sums / sizes.clamp_min(1);
  const at::Tensor overall = sums.sum() / total;
  return (sizes * (means - overall).pow(2)).sum() / total;
}

}  // namespace

at::Tensor masked_bce(const at::Tensor& logits, const at::Tensor& targets,
                      const at::Tensor& harmful_weight, const at::Tensor& row_weight,
                      double gamma) {
  const at::Tensor asked = targets.ge(0).to(logits.scalar_type());
  const at::Tensor truth = targets.clamp_min(0);
  at::Tensor loss =
      at::binary_cross_entropy_with_logits(logits, truth, {}, {}, at::Reduction::None);
  if (gamma > 0) {
    const at::Tensor p = logits.sigmoid();
    loss = loss * (truth * (1 - p) + (1 - truth) * p).pow(gamma);
  }
  at::Tensor weight = asked;
  if (harmful_weight.defined()) weight = weight * (1 + truth * (harmful_weight - 1));
  if (row_weight.defined())
    weight = weight * (logits.dim() == 2 ? row_weight.unsqueeze(1) : row_weight);
  return (loss * weight).sum() / asked.sum().clamp_min(1);
}

FilterLoss::FilterLoss(const FilterSet& train, at::Device device, const FilterLossOptions& options)
    : options_(options) {
  if (!options.class_balance) return;
  const FilterTargets& targets = train.targets;
  const at::Tensor weight =
      (train.draw_weights.empty() ? targets.weight : at::tensor(train.draw_weights, at::kFloat))
          .unsqueeze(1);
  const at::Tensor* asked[] = {&targets.harm[0], &targets.harm[1], &targets.explicit_pair,
                               &targets.implicit_pair};
  for (size_t part = 0; part < 4; ++part)
    harmful_weight_[part] = imbalance(*asked[part], weight).to(device);
  contradiction_weight_ = imbalance(targets.contradiction.unsqueeze(1), weight).to(device);
}

at::Tensor FilterLoss::classification(const HeadLogits& logits,
                                      const FilterTargets& targets) const {
  const double gamma = options_.loss == "focal" ? options_.focal_gamma : 0;
  at::Tensor total = at::zeros({}, targets.weight.options());
  const auto add = [&](size_t part, const at::Tensor& given, const at::Tensor& asked) {
    if (given.defined())
      total = total + masked_bce(given, asked, harmful_weight_[part], targets.weight, gamma);
  };
  add(0, logits.harm[0], targets.harm[0]);
  add(1, logits.harm[1], targets.harm[1]);
  add(2, logits.explicit_pair, targets.explicit_pair);
  add(3, logits.implicit_pair, targets.implicit_pair);
  return total;
}

at::Tensor FilterLoss::contradiction(const at::Tensor& logits, const FilterTargets& targets) const {
  return masked_bce(logits, targets.contradiction, contradiction_weight_, targets.weight, 0);
}

at::Tensor score_alignment(const HeadLogits& logits, const FilterTargets& targets, int64_t groups) {
  at::Tensor total = at::zeros({}, targets.weight.options());
  for (size_t side = 0; side < 3; ++side) {
    if (!logits.harm[side].defined()) continue;
    const int64_t last = logits.harm[side].size(1) - 1;
    const at::Tensor scores = logits.harm[side].select(1, last).sigmoid();
    const at::Tensor truth = targets.harm[side].select(1, last);
    for (const double label : {0.0, 1.0})
      total = total + spread_of_means(scores, truth.eq(label), targets.group, groups);
  }
  return total / 3;
}

at::Tensor reverse_gradient(const at::Tensor& x, double weight) {
  return x.detach() * (1 + weight) - x * weight;
}

}  // namespace parapet

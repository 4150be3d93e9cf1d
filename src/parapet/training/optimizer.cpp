#include "parapet/training/optimizer.h"

#include <ATen/ATen.h>

#include <set>

#include "parapet/core/error.h"
#include "parapet/nn/torch_compat.h"

namespace parapet {
namespace {

void check(const std::vector<TrainableParameter>& parameters) {
  if (parameters.empty())
    throw UsageError("training: nothing to train; check which parts are frozen");
  std::set<std::string> names;
  for (const auto& p : parameters) {
    if (!names.insert(p.name).second)
      throw UsageError("training: parameter '" + p.name + "' is listed twice");
    if (!p.tensor.defined() || p.tensor.scalar_type() != at::kFloat || !p.tensor.is_leaf() ||
        !p.tensor.requires_grad())
      throw UsageError("training: parameter '" + p.name +
                       "' must be a float32 leaf tensor that requires a gradient");
  }
}

}  // namespace

Optimizer::Optimizer(std::vector<TrainableParameter> parameters, const TrainerOptions& options)
    : parameters_(std::move(parameters)),
      decoupled_(options.optimizer == "adamw"),
      beta1_(options.beta1),
      beta2_(options.beta2),
      eps_(options.eps) {
  check(parameters_);
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& p = parameters_[i];
    const auto like = p.tensor.detach();
    slots_.push_back({at::zeros_like(like), at::zeros_like(like),
                      at::zeros({}, like.options().memory_format(std::nullopt))});
    const double decay = p.weight_decay ? options.weight_decay : 0.0;
    auto group = std::find_if(groups_.begin(), groups_.end(), [&](const Group& g) {
      return g.lr_scale == p.lr_scale && g.weight_decay == decay && g.device == like.device();
    });
    if (group == groups_.end())
      group = groups_.insert(groups_.end(), {p.lr_scale, decay, like.device(), {}});
    group->members.push_back(i);
  }
}

std::vector<at::Tensor> Optimizer::gradients() const {
  std::vector<at::Tensor> list;
  for (const auto& p : parameters_)
    if (p.tensor.grad().defined()) list.push_back(p.tensor.grad());
  return list;
}

void Optimizer::step(double lr) {
  const at::NoGradGuard no_grad;
  for (const auto& group : groups_) step_group(group, lr);
}

void Optimizer::step_group(const Group& group, double lr) {
  std::vector<at::Tensor> weights, grads, exp_avgs, exp_avg_sqs, steps;
  for (size_t i : group.members) {
    const auto& grad = parameters_[i].tensor.grad();
    if (!grad.defined()) continue;
    weights.push_back(parameters_[i].tensor);
    grads.push_back(grad);
    exp_avgs.push_back(slots_[i].exp_avg);
    exp_avg_sqs.push_back(slots_[i].exp_avg_sq);
    steps.push_back(slots_[i].step);
  }
  if (weights.empty()) return;
  at::_foreach_add_(steps, 1);
  const compat::AdamSettings settings{lr * group.lr_scale, beta1_, beta2_, eps_,
                                      group.weight_decay};
  compat::fused_adam(decoupled_, weights, grads, exp_avgs, exp_avg_sqs, steps, settings);
}

void Optimizer::zero_grad() {
  for (auto& p : parameters_) p.tensor.mutable_grad() = at::Tensor();
}

std::vector<std::pair<std::string, at::Tensor>> Optimizer::state() const {
  std::vector<std::pair<std::string, at::Tensor>> list;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const auto& name = parameters_[i].name;
    list.emplace_back(name + ".exp_avg", slots_[i].exp_avg);
    list.emplace_back(name + ".exp_avg_sq", slots_[i].exp_avg_sq);
    list.emplace_back(name + ".step", slots_[i].step);
  }
  return list;
}

}  // namespace parapet

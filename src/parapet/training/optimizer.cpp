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
    const bool type = p.tensor.defined() && (p.tensor.scalar_type() == at::kFloat ||
                                             p.tensor.scalar_type() == at::kBFloat16);
    if (!type || !p.tensor.is_leaf() || !p.tensor.requires_grad())
      throw UsageError("training: parameter '" + p.name +
                       "' must be a float32 or bfloat16 leaf tensor that requires a gradient");
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
    const auto wide = like.options().dtype(at::kFloat);
    slots_.push_back({at::zeros_like(like, wide), at::zeros_like(like, wide),
                      at::zeros({}, wide.memory_format(std::nullopt)), at::Tensor(), at::Tensor()});
    if (like.scalar_type() != at::kFloat) slots_.back().master = like.to(at::kFloat);
    const double decay = p.weight_decay ? options.weight_decay : 0.0;
    auto group = std::find_if(groups_.begin(), groups_.end(), [&](const Group& g) {
      return g.lr_scale == p.lr_scale && g.weight_decay == decay && g.device == like.device();
    });
    if (group == groups_.end())
      group = groups_.insert(groups_.end(), {p.lr_scale, decay, like.device(), {}});
    group->members.push_back(i);
  }
}

void Optimizer::collect() {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < slots_.size(); ++i) {
    at::Tensor& narrow = parameters_[i].tensor.mutable_grad();
    if (!slots_[i].master.defined() || !narrow.defined()) continue;
    at::Tensor& sum = slots_[i].gradient;
    if (sum.defined())
      sum.add_(narrow);
    else
      sum = narrow.to(at::kFloat);
    narrow = at::Tensor();
  }
}

at::Tensor Optimizer::gradient(size_t parameter) const {
  const Slot& slot = slots_[parameter];
  return slot.master.defined() ? slot.gradient : parameters_[parameter].tensor.grad();
}

std::vector<at::Tensor> Optimizer::gradients() const {
  std::vector<at::Tensor> list;
  for (size_t i = 0; i < slots_.size(); ++i)
    if (auto grad = gradient(i); grad.defined()) list.push_back(std::move(grad));
  return list;
}

void Optimizer::fill_missing(const std::vector<bool>& wanted) {
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (!wanted[i] || has_gradient(i)) continue;
    const at::Tensor zeros = at::zeros_like(slots_[i].exp_avg);
    if (slots_[i].master.defined())
      slots_[i].gradient = zeros;
    else
      parameters_[i].tensor.mutable_grad() = zeros;
  }
}

void Optimizer::step(double lr) {
  const at::NoGradGuard no_grad;
  for (const auto& group : groups_) step_group(group, lr);
}

void Optimizer::step_group(const Group& group, double lr) {
  std::vector<at::Tensor> weights, grads, exp_avgs, exp_avg_sqs, steps;
  for (size_t i : group.members) {
    const at::Tensor grad = gradient(i);
    if (!grad.defined()) continue;
    weights.push_back(slots_[i].master.defined() ? slots_[i].master : parameters_[i].tensor);
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
  for (size_t i : group.members)
    if (slots_[i].gradient.defined()) parameters_[i].tensor.copy_(slots_[i].master);
}

void Optimizer::zero_grad() {
  for (auto& p : parameters_) p.tensor.mutable_grad() = at::Tensor();
  for (auto& slot : slots_) slot.gradient = at::Tensor();
}

void Optimizer::take_weights() {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < slots_.size(); ++i)
    if (slots_[i].master.defined()) slots_[i].master.copy_(parameters_[i].tensor);
}

std::vector<std::pair<std::string, at::Tensor>> Optimizer::state() const {
  std::vector<std::pair<std::string, at::Tensor>> list;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const auto& name = parameters_[i].name;
    list.emplace_back(name + ".exp_avg", slots_[i].exp_avg);
    list.emplace_back(name + ".exp_avg_sq", slots_[i].exp_avg_sq);
    list.emplace_back(name + ".step", slots_[i].step);
    if (slots_[i].master.defined()) list.emplace_back(name + ".master", slots_[i].master);
  }
  return list;
}

}  // namespace parapet

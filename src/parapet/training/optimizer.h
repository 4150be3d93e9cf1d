// Adam and AdamW with libtorch's fused kernels over lists of tensors.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "parapet/training/task.h"
#include "parapet/training/trainer_options.h"

namespace parapet {

// Updates as torch.optim.Adam / AdamW do (Kingma and Ba; Loshchilov and Hutter), moments in
// float32. A bfloat16 parameter has a float32 master copy here that the updates go to, since most
// of them are smaller than bfloat16's steps (mixed precision training, arXiv 1710.03740); the
// parameter is that copy, rounded. A parameter without a gradient in a step is left alone, its own
// step count too.
class Optimizer {
 public:
  // UsageError on a duplicate name, a parameter that is not a float32 or bfloat16 leaf that
  // requires a gradient, or none at all.
  Optimizer(std::vector<TrainableParameter> parameters, const TrainerOptions& options);

  const std::vector<TrainableParameter>& parameters() const { return parameters_; }
  // After each backward(): adds the gradients of bfloat16 parameters to sums in float32.
  void collect();
  // Gradients in float32, of the parameters that hold one, in order.
  std::vector<at::Tensor> gradients() const;
  bool has_gradient(size_t parameter) const { return gradient(parameter).defined(); }
  // Zeros for parameters that are `wanted` and hold none.
  void fill_missing(const std::vector<bool>& wanted);
  // Applies the gradients; `lr` is the schedule's value, multiplied by each parameter's lr_scale.
  void step(double lr);
  void zero_grad();
  // Master copies from the parameters, whose values came from elsewhere.
  void take_weights();
  // Moments and step counts under "<parameter>.exp_avg", ".exp_avg_sq" and ".step", master copies
  // under ".master", aliasing the optimiser's own: save them, or copy saved values into them.
  std::vector<std::pair<std::string, at::Tensor>> state() const;

 private:
  struct Slot {
    at::Tensor exp_avg, exp_avg_sq, step;
    at::Tensor master, gradient;  // of a bfloat16 parameter
  };
  struct Group {
    double lr_scale = 1, weight_decay = 0;
    at::Device device = at::kCPU;
    std::vector<size_t> members;
  };
  void step_group(const Group& group, double lr);
  at::Tensor gradient(size_t parameter) const;

  std::vector<TrainableParameter> parameters_;
  std::vector<Slot> slots_;
  std::vector<Group> groups_;
  bool decoupled_ = true;  // AdamW
  double beta1_, beta2_, eps_;
};

}  // namespace parapet

// Adam and AdamW with libtorch's fused kernels over lists of tensors.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "parapet/training/task.h"
#include "parapet/training/trainer.h"

namespace parapet {

// Updates as torch.optim.Adam / AdamW do (Kingma and Ba; Loshchilov and Hutter), moments in
// float32. A parameter without a gradient in a step is left alone, its own step count too.
class Optimizer {
 public:
  // UsageError on a duplicate name, a parameter that is not a float32 leaf that requires a
  // gradient, or none at all.
  Optimizer(std::vector<TrainableParameter> parameters, const TrainerOptions& options);

  const std::vector<TrainableParameter>& parameters() const { return parameters_; }
  // Parameters that hold a gradient, in order.
  std::vector<at::Tensor> gradients() const;
  // Applies the gradients; `lr` is the schedule's value, multiplied by each parameter's lr_scale.
  void step(double lr);
  void zero_grad();
  // Moments and step counts under "<parameter>.exp_avg", ".exp_avg_sq" and ".step", aliasing the
  // optimiser's own: save them, or copy saved values into them.
  std::vector<std::pair<std::string, at::Tensor>> state() const;

 private:
  struct Slot {
    at::Tensor exp_avg, exp_avg_sq, step;
  };
  struct Group {
    double lr_scale = 1, weight_decay = 0;
    at::Device device = at::kCPU;
    std::vector<size_t> members;
  };
  void step_group(const Group& group, double lr);

  std::vector<TrainableParameter> parameters_;
  std::vector<Slot> slots_;
  std::vector<Group> groups_;
  bool decoupled_ = true;  // AdamW
  double beta1_, beta2_, eps_;
};

}  // namespace parapet

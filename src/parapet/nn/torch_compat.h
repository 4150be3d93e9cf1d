// Torch calls whose form or availability depends on the version (2.6 and later), in one place.
// Heavy: include from sources only.
#pragma once
#include <ATen/ATen.h>

#include <vector>

namespace parapet::compat {

struct AdamSettings {
  double lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
};

// One Adam (decay added to the gradient) or AdamW (`decoupled`) update of a list of tensors on one
// device. `steps` are scalar float tensors, already counted up for this update.
inline void fused_adam(bool decoupled, at::TensorList weights, at::TensorList grads,
                       at::TensorList exp_avgs, at::TensorList exp_avg_sqs, at::TensorList steps,
                       const AdamSettings& s) {
  if (decoupled)
    at::_fused_adamw_(weights, grads, exp_avgs, exp_avg_sqs, {}, steps, s.lr, s.beta1, s.beta2,
                      s.weight_decay, s.eps, /*amsgrad=*/false, /*maximize=*/false);
  else
    at::_fused_adam_(weights, grads, exp_avgs, exp_avg_sqs, {}, steps, s.lr, s.beta1, s.beta2,
                     s.weight_decay, s.eps, /*amsgrad=*/false, /*maximize=*/false);
}

}  // namespace parapet::compat

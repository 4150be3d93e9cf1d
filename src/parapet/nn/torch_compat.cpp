#include "parapet/nn/torch_compat.h"

#include <ATen/ATen.h>

namespace parapet::compat {

void fused_adam(bool decoupled, const std::vector<at::Tensor>& weights,
                const std::vector<at::Tensor>& grads, const std::vector<at::Tensor>& exp_avgs,
                const std::vector<at::Tensor>& exp_avg_sqs, const std::vector<at::Tensor>& steps,
                const AdamSettings& s) {
  constexpr bool kAmsgrad = false, kMaximize = false;
  if (decoupled)
    at::_fused_adamw_(weights, grads, exp_avgs, exp_avg_sqs, {}, steps, s.lr, s.beta1, s.beta2,
                      s.weight_decay, s.eps, kAmsgrad, kMaximize);
  else
    at::_fused_adam_(weights, grads, exp_avgs, exp_avg_sqs, {}, steps, s.lr, s.beta1, s.beta2,
                     s.weight_decay, s.eps, kAmsgrad, kMaximize);
}

}  // namespace parapet::compat

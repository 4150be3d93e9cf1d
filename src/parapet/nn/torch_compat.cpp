#include "parapet/nn/torch_compat.h"

#include <ATen/ATen.h>
#include <torch/version.h>

// Allocators of devices say what is free since torch 2.10.
#if TORCH_VERSION_MAJOR > 2 || TORCH_VERSION_MINOR >= 10
#define PARAPET_DEVICE_MEMORY_INFO
#include <c10/core/CachingDeviceAllocator.h>
#endif

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

#ifdef PARAPET_DEVICE_MEMORY_INFO
int64_t free_device_memory(at::Device device) {
  try {
    // index() is -1 for "the current one".
    const auto index = std::max<c10::DeviceIndex>(device.index(), 0);
    return static_cast<int64_t>(c10::getDeviceAllocator(device.type())->getMemoryInfo(index).first);
  } catch (const c10::Error&) {
    return -1;  // a kind of device that does not tell
  }
}
#else
int64_t free_device_memory(at::Device) { return -1; }
#endif

}  // namespace parapet::compat

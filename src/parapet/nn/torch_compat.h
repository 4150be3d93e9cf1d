// Torch calls whose form or availability depends on the version (2.6 and later), in one place.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace parapet::compat {

struct AdamSettings {
  double lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
};

// One Adam (decay added to the gradient) or AdamW (`decoupled`) update, in place, of a list of
// tensors on one device. `steps` are scalar float tensors, already counted up for this update.
void fused_adam(bool decoupled, const std::vector<at::Tensor>& weights,
                const std::vector<at::Tensor>& grads, const std::vector<at::Tensor>& exp_avgs,
                const std::vector<at::Tensor>& exp_avg_sqs, const std::vector<at::Tensor>& steps,
                const AdamSettings& settings);

// Bytes free on a device other than the CPU; -1 where this torch cannot tell. For nn::free_memory.
int64_t free_device_memory(at::Device device);

}  // namespace parapet::compat

#include "parapet/nn/device.h"

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include "parapet/core/error.h"

namespace parapet::nn {

int64_t cuda_devices() {
  return at::globalContext().hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0;
}

at::Device require_device(const std::string& option) {
  return require_device(option, option.starts_with("cuda") ? cuda_devices() : 0);
}

at::Device require_device(const std::string& option, int64_t devices) {
  at::Device device(at::kCPU);
  try {
    device = at::Device(option);
  } catch (const std::exception&) {
    throw UsageError("--device: '" + option + "' is not cpu, cuda or cuda:n");
  }
  if (!device.is_cuda()) return device;
  if (devices == 0)
    throw UsageError("--device " + option +
                     ": this build or this machine has no CUDA device; leave it out for the CPU");
  const int64_t index = device.has_index() ? device.index() : 0;
  if (index >= devices)
    throw UsageError("--device " + option + ": this machine has " + std::to_string(devices) +
                     (devices == 1 ? " device" : " devices") + ", numbered from 0");
  return {at::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

void prepare_device(at::Device device) {
  if (device.is_cuda()) at::globalContext().setSDPUseCuDNN(false);
}

}  // namespace parapet::nn

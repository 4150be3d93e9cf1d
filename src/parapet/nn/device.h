// Which device a --device means on this machine.
#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <string>

namespace parapet::nn {

// CUDA devices that can be used: 0 without a driver, or where the build has no CUDA.
int64_t cuda_devices();

// `option` is cpu or cuda[:n]; "cuda" is the first device. UsageError when it is none of these, or
// when this build or this machine has no such device.
at::Device require_device(const std::string& option);
// The same, where the number of devices is known.
at::Device require_device(const std::string& option, int64_t devices);

// Settings of the process for computing on `device`. On CUDA, cuDNN's attention is left out: it
// builds a graph for every new shape, about a tenth of a second each, and texts have many lengths.
void prepare_device(at::Device device);

}  // namespace parapet::nn

#include "parapet/nn/device.h"

#include <gtest/gtest.h>

#include "parapet/core/error.h"

namespace parapet::nn {
namespace {

std::string refusal(const std::string& option, int64_t devices) {
  try {
    require_device(option, devices);
  } catch (const UsageError& error) {
    return error.what();
  }
  return {};
}

TEST(Device, IsOneThatThisMachineHas) {
  EXPECT_EQ(require_device("cpu", 0), at::Device(at::kCPU));
  EXPECT_EQ(require_device("cuda", 2), at::Device(at::kCUDA, 0));
  EXPECT_EQ(require_device("cuda:1", 2), at::Device(at::kCUDA, 1));
  EXPECT_NE(refusal("cuda", 0).find("no CUDA device"), std::string::npos);
  EXPECT_NE(refusal("cuda:2", 2).find("2 devices, numbered from 0"), std::string::npos);
  EXPECT_NE(refusal("cuda:1", 1).find("1 device, numbered from 0"), std::string::npos);
  for (const char* wrong : {"gpu", "", "cuda:", "cuda:x"})
    EXPECT_NE(refusal(wrong, 2).find("is not cpu, cuda"), std::string::npos) << wrong;
}

TEST(Device, TheCountIsThatOfThisMachine) {
  const int64_t devices = cuda_devices();
  EXPECT_EQ(require_device("cpu"), at::Device(at::kCPU));
  EXPECT_THROW(require_device("cuda:" + std::to_string(devices)), UsageError);
}

}  // namespace
}  // namespace parapet::nn

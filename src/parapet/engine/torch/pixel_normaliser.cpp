#include "parapet/engine/torch/pixel_normaliser.h"

#include <ATen/ATen.h>

#include <cmath>

namespace parapet {
namespace {

// v / d in float32 is v * rescale rounded once, for every byte.
bool divides_exactly(double rescale, float divisor) {
  for (int v = 0; v < 256; ++v)
    if (static_cast<float>(v) / divisor != static_cast<float>(v * rescale)) return false;
  return true;
}

at::Tensor channels(const std::array<float, 3>& values, at::Device device) {
  return at::tensor(at::ArrayRef<float>(values.data(), 3)).view({3, 1, 1}).to(device);
}

}  // namespace

PixelNormaliser::PixelNormaliser(const ImageProcessor& processor, at::Device device)
    : rescale_(processor.rescale_factor()),
      mean_(channels(processor.mean(), device)),
      std_(channels(processor.std(), device)) {
  const auto divisor = static_cast<float>(std::round(1 / rescale_));
  narrow_ = divisor >= 1 && divides_exactly(rescale_, divisor);
  // As tensors: a device multiplies by the reciprocal of a number, which rounds differently.
  divisor_ = at::scalar_tensor(divisor, at::kFloat).to(device);
}

at::Tensor PixelNormaliser::operator()(const at::Tensor& bytes) const {
  const at::Tensor planes = bytes.permute({0, 3, 1, 2});
  const auto type = narrow_ ? at::kFloat : at::kDouble;
  at::Tensor x = planes.to(planes.options().dtype(type), false, true, at::MemoryFormat::Contiguous);
  if (narrow_)
    x.div_(divisor_);
  else
    x = x.mul_(rescale_).to(at::kFloat);
  return x.sub_(mean_).div_(std_);
}

}  // namespace parapet

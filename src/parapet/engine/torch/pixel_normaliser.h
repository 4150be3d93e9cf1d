// ImageProcessor::normalise on a device: the very same numbers, from bytes.
#pragma once
#include <ATen/core/Tensor.h>

#include "parapet/formats/image_processor.h"

namespace parapet {

class PixelNormaliser {
 public:
  PixelNormaliser(const ImageProcessor& processor, at::Device device);

  // uint8 [n, h, w, 3] on the device -> float32 [n, 3, h, w].
  at::Tensor operator()(const at::Tensor& bytes) const;

  // Whether float32 arithmetic gives the processor's numbers for all 256 values; else float64 is
  // used up to where the processor rounds.
  bool narrow() const { return narrow_; }

 private:
  bool narrow_ = false;
  double rescale_;
  at::Tensor divisor_;     // float32 scalar on the device: 1 / rescale, where that is whole
  at::Tensor mean_, std_;  // float32 [3, 1, 1] on the device
};

}  // namespace parapet

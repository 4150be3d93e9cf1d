// Images as raw patches, and the patch convolution as a matrix over them: what the CPU backends
// feed their image towers.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "parapet/formats/image_processor.h"

namespace parapet {

struct LinearWeights {
  at::Tensor weight, bias;  // [out, in], [out]; bias may be undefined
};
// The patch convolution as a matrix over raw bytes in (y, x, c) order, with rescaling, mean and
// deviation folded in; the bias is what a whole patch of zero bytes gives.
LinearWeights patch_weights(const at::Tensor& kernel, const ImageProcessor& processor);

// One resized and cropped image to (patches + 1) rows of patch * patch * 3 bytes.
void write_patches(const Image& pixels, int64_t patch, uint8_t* out);

}  // namespace parapet

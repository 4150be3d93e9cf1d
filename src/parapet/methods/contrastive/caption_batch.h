// What both caption sources do to fill a batch.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "parapet/methods/contrastive/caption_source.h"

namespace parapet::captions {

at::Tensor empty_pixels(int64_t n, const ImageProcessor& processor);
// `image`, already of the processor's size, normalised to [3, height, width] at `chw`; mirrored =
// left and right exchanged.
void put_pixels(const ImageProcessor& processor, const Image& image, bool mirrored, float* chw);
at::Tensor token_batch(const CaptionPipeline& pipeline, const std::vector<std::string>& texts);

}  // namespace parapet::captions

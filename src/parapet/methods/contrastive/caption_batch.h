// What both caption sources do to fill a batch.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "parapet/methods/contrastive/caption_source.h"

namespace parapet::captions {

at::Tensor empty_pixels(int64_t n, const ImageProcessor& processor);
// Flips [3, height, width] left to right in place.
void mirror_rows(float* chw, int64_t height, int64_t width);
at::Tensor token_batch(const CaptionPipeline& pipeline, const std::vector<std::string>& texts);

}  // namespace parapet::captions

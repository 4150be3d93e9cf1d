#include "parapet/engine/encoder/patch_pipeline.h"

#include <ATen/ATen.h>

#include "parapet/engine/encoder/clip_patches.h"

namespace parapet {

at::Tensor PatchPipeline::new_batch(int64_t count) const {
  const ClipVisionConfig& vision = config().vision;
  return at::empty({count, vision.patches() + 1, 3 * vision.patch_size * vision.patch_size},
                   at::kByte);
}

void PatchPipeline::put(const Image& pixels, at::Tensor& batch, int64_t row) const {
  write_patches(pixels, config().vision.patch_size,
                batch.data_ptr<uint8_t>() + row * batch.stride(0));
}

}  // namespace parapet

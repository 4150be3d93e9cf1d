#include "parapet/engine/encoder/clip_patches.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace parapet {

// W'[o, (y, x, c)] = W[o, c, y, x] * rescale / std_c, and -sum W * mean_c / std_c as the bias.
LinearWeights patch_weights(const at::Tensor& kernel, const ImageProcessor& processor) {
  const at::Tensor mean = at::tensor(at::ArrayRef<float>(processor.mean())).to(at::kDouble);
  const at::Tensor deviation = at::tensor(at::ArrayRef<float>(processor.std())).to(at::kDouble);
  const at::Tensor by_channel = kernel.to(at::kDouble).permute({0, 2, 3, 1});  // [o, y, x, c]
  LinearWeights folded;
  folded.weight = (by_channel * (processor.rescale_factor() / deviation))
                      .reshape({kernel.size(0), -1})
                      .to(at::kFloat);
  folded.bias = -(by_channel * (mean / deviation)).sum(at::IntArrayRef{1, 2, 3}).to(at::kFloat);
  return folded;
}

void write_patches(const Image& pixels, int64_t patch, uint8_t* out) {
  const int64_t columns = pixels.width / patch, lines = pixels.height / patch;
  const int64_t row_bytes = 3 * patch;
  std::fill_n(out, patch * row_bytes, uint8_t{0});
  out += patch * row_bytes;
  for (int64_t py = 0; py < lines; ++py)
    for (int64_t px = 0; px < columns; ++px)
      for (int64_t y = 0; y < patch; ++y, out += row_bytes)
        std::copy_n(pixels.rgb.data() + ((py * patch + y) * pixels.width + px * patch) * 3,
                    row_bytes, out);
}

}  // namespace parapet

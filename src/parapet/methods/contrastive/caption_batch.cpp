#include "parapet/methods/contrastive/caption_batch.h"

#include <ATen/ATen.h>

#include "parapet/engine/encoder/text_batches.h"

namespace parapet::captions {

at::Tensor empty_pixels(int64_t n, const ImageProcessor& processor) {
  return at::empty({n, 3, processor.height(), processor.width()}, at::kFloat);
}

void put_pixels(const ImageProcessor& processor, const Image& image, bool mirrored, float* chw) {
  processor.normalise(image, chw);
  const int64_t width = processor.width();
  for (int64_t row = 0; mirrored && row < 3 * processor.height(); ++row)
    std::reverse(chw + row * width, chw + (row + 1) * width);
}

at::Tensor token_batch(const CaptionPipeline& pipeline, const std::vector<std::string>& texts) {
  const auto ids = tokenize_all(*pipeline.tokenizer, texts, pipeline.max_tokens, 1);
  std::vector<const std::vector<int32_t>*> rows;
  for (const auto& row : ids) rows.push_back(&row);
  return pad_ids(rows, pipeline.tokenizer->eos_id());
}

}  // namespace parapet::captions

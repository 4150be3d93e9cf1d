#include "parapet/data/captions.h"

#include "parapet/core/threads.h"

namespace parapet {

LoadedCaption load_caption(const CaptionPipeline& pipeline, Image image, const std::string& text,
                           bool mirrored) {
  LoadedCaption out;
  out.image = std::move(image);
  out.mirrored = mirrored;
  EncodeOptions options;
  options.max_length = pipeline.max_tokens;
  out.ids = pipeline.tokenizer->encode(text, options);
  out.text_key = content_key(text);
  out.image_key = content_key(out.image);
  return out;
}

CaptionBatch join_captions(const CaptionPipeline& pipeline,
                           const std::vector<LoadedCaption>& rows) {
  CaptionBatch batch;
  if (rows.empty()) return batch;
  std::vector<const std::vector<int32_t>*> ids;
  for (const LoadedCaption& row : rows) {
    ids.push_back(&row.ids);
    batch.text_keys.push_back(row.text_key);
    batch.image_keys.push_back(row.image_key);
  }
  batch.ids = IdRows(ids, pipeline.tokenizer->eos_id());
  batch.pixels = PixelRows(static_cast<int64_t>(rows.size()), pipeline.processor);
  parallel_items(batch.pixels.count, 0, [&](int64_t i) {
    const LoadedCaption& row = rows[static_cast<size_t>(i)];
    put_pixels(pipeline.processor, row.image, row.mirrored, batch.pixels.row(i));
  });
  return batch;
}

}  // namespace parapet

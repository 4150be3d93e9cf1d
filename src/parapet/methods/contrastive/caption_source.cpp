#include "parapet/methods/contrastive/caption_source.h"

#include <ATen/ATen.h>

#include "parapet/core/random.h"
#include "parapet/methods/contrastive/caption_batch.h"

namespace parapet {
namespace {

using captions::empty_pixels;
using captions::mirror_rows;
using captions::token_batch;

class WorldCaptions final : public CaptionSource {
 public:
  WorldCaptions(std::shared_ptr<const SampleWorld> world, CaptionPipeline pipeline, int64_t first)
      : world_(std::move(world)), pipeline_(std::move(pipeline)), first_(first) {}

  CaptionBatch batch(int64_t index, int64_t size) const override {
    return draw(WorldSplit::kTrain, first_ + index * size, size, pipeline_.mirror);
  }
  CaptionBatch validation(int64_t count) const override {
    return draw(WorldSplit::kVal, 0, count, false);
  }
  int64_t samples() const override { return 0; }

 private:
  CaptionBatch draw(WorldSplit split, int64_t begin, int64_t size, bool mirror) const {
    const ImageProcessor& processor = pipeline_.processor;
    CaptionBatch out;
    out.pixels = empty_pixels(size, processor);
    out.glyphs = at::zeros({size, kGlyphs}, at::kFloat);
    out.colours = at::empty({size}, at::kLong);
    float* pixels = out.pixels.data_ptr<float>();
    float* glyphs = out.glyphs.data_ptr<float>();
    int64_t* colours = out.colours.data_ptr<int64_t>();
    const int64_t plane = 3 * processor.height() * processor.width();
    std::vector<std::string> texts;
    for (int64_t i = 0; i < size; ++i) {
      WorldCaption sample = world_->caption(split, begin + i);
      const bool fits =
          sample.image.width == processor.width() && sample.image.height == processor.height();
      processor.normalise(fits ? sample.image : processor.to_pixels(sample.image),
                          pixels + i * plane);
      Random flips(pipeline_.seed, static_cast<uint64_t>(begin + i));
      if (mirror && flips.chance(0.5))
        mirror_rows(pixels + i * plane, processor.height(), processor.width());
      for (int glyph = 0; glyph < kGlyphs; ++glyph)
        glyphs[i * kGlyphs + glyph] = sample.drawn[glyph];
      colours[i] = sample.scene.colour;
      texts.push_back(std::move(sample.text));
    }
    out.ids = token_batch(pipeline_, texts);
    return out;
  }

  std::shared_ptr<const SampleWorld> world_;
  CaptionPipeline pipeline_;
  int64_t first_;
};

}  // namespace

std::unique_ptr<CaptionSource> world_captions(std::shared_ptr<const SampleWorld> world,
                                              CaptionPipeline pipeline, int64_t first) {
  return std::make_unique<WorldCaptions>(std::move(world), std::move(pipeline), first);
}

PrefetchedCaptions::PrefetchedCaptions(const CaptionSource& source, int64_t batch_size,
                                       int64_t rank, int64_t world_size)
    : source_(source), batch_size_(batch_size), rank_(rank), world_size_(world_size) {}

CaptionBatch PrefetchedCaptions::draw(int64_t position) const {
  return source_.batch(position * world_size_ + rank_, batch_size_);
}

CaptionBatch PrefetchedCaptions::next() {
  CaptionBatch out = pending_.valid() ? pending_.get() : draw(position_);
  ++position_;
  pending_ = std::async(std::launch::async, [this, at = position_] { return draw(at); });
  return out;
}

void PrefetchedCaptions::seek(int64_t position) {
  if (pending_.valid()) pending_.wait();  // its batch, or its error, is of no interest
  pending_ = {};
  position_ = position;
}

}  // namespace parapet

#include "parapet/methods/contrastive/caption_source.h"

#include <ATen/ATen.h>

#include "parapet/core/random.h"
#include "parapet/methods/contrastive/caption_batch.h"

namespace parapet {
namespace {

using captions::empty_pixels;
using captions::put_pixels;
using captions::token_batch;

class WorldCaptions final : public IndexedCaptions {
 public:
  WorldCaptions(std::shared_ptr<const SampleWorld> world, CaptionPipeline pipeline, int64_t first)
      : world_(std::move(world)), pipeline_(std::move(pipeline)), first_(first) {}

  CaptionBatch batch(int64_t index, int64_t size) const override {
    return draw(WorldSplit::kTrain, first_ + index * size, size, pipeline_.mirror);
  }
  CaptionBatch validation(int64_t count) const override {
    return draw(WorldSplit::kVal, 0, count, false);
  }

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
      Random flips(pipeline_.seed, static_cast<uint64_t>(begin + i));
      put_pixels(processor, fits ? sample.image : processor.to_pixels(sample.image),
                 mirror && flips.chance(0.5), pixels + i * plane);
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

// Every world_size-th batch, starting at the rank's. The position is the next one's number.
class Batches final : public Source<CaptionBatch> {
 public:
  Batches(const IndexedCaptions& captions, int64_t size, int64_t rank, int64_t world_size)
      : captions_(captions), size_(size), rank_(rank), world_size_(world_size) {}
  bool next(CaptionBatch& batch) override {
    batch = captions_.batch(at_ * world_size_ + rank_, size_);
    ++at_;
    return true;
  }
  nlohmann::json position() const override { return at_; }
  void restore(const nlohmann::json& position) override { at_ = position.get<int64_t>(); }

 private:
  const IndexedCaptions& captions_;
  int64_t size_, rank_, world_size_;
  int64_t at_ = 0;
};

}  // namespace

SourcePtr<CaptionBatch> IndexedCaptions::open(int64_t batch_size, int64_t rank,
                                              int64_t world_size) const {
  return std::make_unique<Batches>(*this, batch_size, rank, world_size);
}

std::unique_ptr<CaptionSource> world_captions(std::shared_ptr<const SampleWorld> world,
                                              CaptionPipeline pipeline, int64_t first) {
  return std::make_unique<WorldCaptions>(std::move(world), std::move(pipeline), first);
}

}  // namespace parapet

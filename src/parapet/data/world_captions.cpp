#include "parapet/data/world_captions.h"

#include "parapet/core/random.h"
#include "parapet/core/threads.h"
#include "parapet/data/sources/compose.h"
#include "parapet/data/sources/order.h"
#include "parapet/data/sources/share.h"

namespace parapet {
namespace {

struct DrawnCaption {
  LoadedCaption caption;
  std::array<uint8_t, kGlyphs> glyphs{};
  int64_t colour = 0;
};

class WorldCaptions final : public CaptionSet {
 public:
  WorldCaptions(std::shared_ptr<const SampleWorld> world, CaptionPipeline pipeline, int64_t first)
      : world_(std::move(world)), pipeline_(std::move(pipeline)), first_(first) {}

  SourcePtr<CaptionBatch> open(int64_t batch_size, int64_t rank, int64_t ranks) const override {
    auto own = shard_by_rank(batch(numbers_from(first_), batch_size), rank, ranks);
    auto drawn = map_members<int64_t, DrawnCaption>(std::move(own), [this](const int64_t& number) {
      return draw(WorldSplit::kTrain, number, pipeline_.mirror);
    });
    return map<std::vector<DrawnCaption>, CaptionBatch>(
        std::move(drawn), [this](std::vector<DrawnCaption> rows) { return join(std::move(rows)); });
  }

  CaptionBatch validation(int64_t count, int64_t chunk, int64_t rank,
                          int64_t ranks) const override {
    const RowRange own = share_of(count, chunk, rank, ranks);
    std::vector<DrawnCaption> rows(static_cast<size_t>(own.size()));
    parallel_items(own.size(), 0, [&](int64_t i) {
      rows[static_cast<size_t>(i)] = draw(WorldSplit::kVal, own.begin + i, false);
    });
    return join(std::move(rows));
  }

 private:
  DrawnCaption draw(WorldSplit split, int64_t number, bool mirror) const {
    const ImageProcessor& processor = pipeline_.processor;
    WorldCaption sample = world_->caption(split, number);
    const bool fits =
        sample.image.width == processor.width() && sample.image.height == processor.height();
    Random flips(pipeline_.seed, static_cast<uint64_t>(number));
    DrawnCaption out;
    out.glyphs = sample.drawn;
    out.colour = sample.scene.colour;
    Image image = fits ? std::move(sample.image) : processor.to_pixels(sample.image);
    out.caption =
        load_caption(pipeline_, std::move(image), sample.text, mirror && flips.chance(0.5));
    return out;
  }

  CaptionBatch join(std::vector<DrawnCaption> rows) const {
    auto labels = std::make_shared<WorldLabels>();
    std::vector<LoadedCaption> captions;
    for (DrawnCaption& row : rows) {
      labels->glyphs.insert(labels->glyphs.end(), row.glyphs.begin(), row.glyphs.end());
      labels->colours.push_back(row.colour);
      captions.push_back(std::move(row.caption));
    }
    CaptionBatch batch = join_captions(pipeline_, captions);
    batch.world = std::move(labels);
    return batch;
  }

  std::shared_ptr<const SampleWorld> world_;
  CaptionPipeline pipeline_;
  int64_t first_;
};

}  // namespace

std::unique_ptr<CaptionSet> world_captions(std::shared_ptr<const SampleWorld> world,
                                           CaptionPipeline pipeline, int64_t first) {
  return std::make_unique<WorldCaptions>(std::move(world), std::move(pipeline), first);
}

}  // namespace parapet

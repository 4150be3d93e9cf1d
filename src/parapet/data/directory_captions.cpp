// Captions of a data set directory.
#include "parapet/core/random.h"
#include "parapet/core/threads.h"
#include "parapet/data/bad_images.h"
#include "parapet/data/captions.h"
#include "parapet/data/sources/compose.h"
#include "parapet/data/sources/order.h"
#include "parapet/data/sources/share.h"

namespace parapet {
namespace {

class DirectoryCaptions final : public CaptionSet {
 public:
  DirectoryCaptions(std::vector<CaptionSample> train, std::vector<CaptionSample> val,
                    CaptionPipeline pipeline)
      : train_(std::move(train)), val_(std::move(val)), pipeline_(std::move(pipeline)) {}

  SourcePtr<CaptionBatch> open(int64_t batch_size, int64_t rank, int64_t ranks) const override {
    auto draws = shuffled_draws(static_cast<int64_t>(train_.size()), pipeline_.seed, "captions");
    auto own = shard_by_rank(batch(std::move(draws), batch_size), rank, ranks);
    auto loaded = map_members<Draw, LoadedCaption>(std::move(own), [this](const Draw& draw) {
      return load(train_[static_cast<size_t>(draw.row)], draw.number, pipeline_.mirror);
    });
    return map<std::vector<LoadedCaption>, CaptionBatch>(
        std::move(loaded),
        [this](std::vector<LoadedCaption> rows) { return join_captions(pipeline_, rows); });
  }

  CaptionBatch validation(int64_t count, int64_t chunk, int64_t rank,
                          int64_t ranks) const override {
    const RowRange own =
        share_of(std::min(count, static_cast<int64_t>(val_.size())), chunk, rank, ranks);
    std::vector<LoadedCaption> rows(static_cast<size_t>(own.size()));
    parallel_items(own.size(), 0, [&](int64_t i) {
      rows[static_cast<size_t>(i)] = load(val_[static_cast<size_t>(own.begin + i)], 0, false);
    });
    return join_captions(pipeline_, rows);
  }

 private:
  LoadedCaption load(const CaptionSample& sample, int64_t number, bool mirror) const {
    DecodeOptions decode;
    decode.scale_for = pipeline_.processor.scale_hint();
    Random flips = Random::named(pipeline_.seed, "flip." + std::to_string(number));
    return load_caption(pipeline_, pipeline_.processor.to_pixels(load_image(sample.image, decode)),
                        sample.text, mirror && flips.chance(0.5));
  }

  std::vector<CaptionSample> train_, val_;
  CaptionPipeline pipeline_;
};

}  // namespace

std::unique_ptr<CaptionSet> directory_captions(const std::string& folder, CaptionPipeline pipeline,
                                               const BadSamples& bad, SampleCounts& counts) {
  auto train = load_good_captions(folder, "train", pipeline.processor, bad, counts);
  require_samples(train.size(), folder, "captions.jsonl", "train");
  auto val = load_good_captions(folder, "val", pipeline.processor, bad, counts);
  counts.loaded = static_cast<int64_t>(train.size());
  return std::make_unique<DirectoryCaptions>(std::move(train), std::move(val), std::move(pipeline));
}

}  // namespace parapet

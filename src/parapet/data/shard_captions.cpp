// Captions streamed from tar shards.
#include "parapet/core/random.h"
#include "parapet/data/captions.h"
#include "parapet/data/shard_caption.h"
#include "parapet/data/shard_loader.h"
#include "parapet/data/sources/compose.h"
#include "parapet/data/sources/share.h"

namespace parapet {
namespace {

LoadedCaption load(const CaptionPipeline& pipeline, const StreamedSample& sample, bool mirror) {
  const std::string place = sample.place();
  const ShardCaption caption = read_shard_caption(sample.sample.parts, place);
  DecodeOptions decode;
  decode.scale_for = pipeline.processor.scale_hint();
  const Image image =
      decode_image(sample.sample.parts.at(caption.image), place + "." + caption.image, decode);
  Random flips = Random::named(pipeline.seed, "flip." + std::to_string(sample.epoch) + "." + place);
  return load_caption(pipeline, pipeline.processor.to_pixels(image), caption.text,
                      mirror && flips.chance(0.5));
}

class ShardCaptions final : public CaptionSet {
 public:
  ShardCaptions(std::vector<std::string> shards, std::vector<std::string> validation,
                int64_t buffer, CaptionPipeline pipeline, const BadSamples& bad,
                SampleCounts& counts)
      : shards_(std::move(shards)),
        validation_(std::move(validation)),
        buffer_(buffer),
        pipeline_(std::move(pipeline)),
        counts_(counts) {
    if (bad.mode != OnBadSample::kSkip) return;
    train_quarantine_ = std::make_unique<ShardQuarantine>(bad.quarantine + "-train.jsonl", counts_);
    val_quarantine_ = std::make_unique<ShardQuarantine>(bad.quarantine + "-val.jsonl", counts_);
  }

  SourcePtr<CaptionBatch> open(int64_t batch_size, int64_t rank, int64_t ranks) const override {
    ShardStreamOptions options;
    options.seed = pipeline_.seed;
    options.buffer = buffer_;
    options.part = rank;
    options.parts = ranks;
    auto rows = std::make_unique<ShardLoader<LoadedCaption>>(
        shard_stream(shards_, options), batch_size,
        [this](const StreamedSample& sample) { return load(pipeline_, sample, pipeline_.mirror); },
        train_quarantine_.get(), counts_);
    return map<std::vector<LoadedCaption>, CaptionBatch>(
        std::move(rows),
        [this](std::vector<LoadedCaption> loaded) { return join_captions(pipeline_, loaded); });
  }

  CaptionBatch validation(int64_t count, int64_t chunk, int64_t rank,
                          int64_t ranks) const override {
    const auto samples = first_samples(validation_, count);
    const RowRange own = share_of(static_cast<int64_t>(samples.size()), chunk, rank, ranks);
    return join_captions(
        pipeline_, load_samples<LoadedCaption>(
                       samples, own.begin, own.end,
                       [&](const StreamedSample& sample) { return load(pipeline_, sample, false); },
                       val_quarantine_.get()));
  }

 private:
  std::vector<std::string> shards_, validation_;
  int64_t buffer_;
  CaptionPipeline pipeline_;
  SampleCounts& counts_;
  std::unique_ptr<ShardQuarantine> train_quarantine_, val_quarantine_;
};

}  // namespace

std::unique_ptr<CaptionSet> shard_captions(std::vector<std::string> shards,
                                           std::vector<std::string> validation_shards,
                                           int64_t buffer, CaptionPipeline pipeline,
                                           const BadSamples& bad, SampleCounts& counts) {
  return std::make_unique<ShardCaptions>(std::move(shards), std::move(validation_shards), buffer,
                                         std::move(pipeline), bad, counts);
}

}  // namespace parapet

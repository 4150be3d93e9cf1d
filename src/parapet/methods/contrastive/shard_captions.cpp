// Captions streamed from tar shards.
#include <ATen/ATen.h>

#include <filesystem>
#include <mutex>
#include <set>

#include "parapet/core/error.h"
#include "parapet/core/random.h"
#include "parapet/data/shard_caption.h"
#include "parapet/data/shard_stream.h"
#include "parapet/formats/jsonl.h"
#include "parapet/methods/contrastive/caption_batch.h"
#include "parapet/methods/contrastive/caption_source.h"

namespace parapet {
namespace {

using captions::empty_pixels;
using captions::put_pixels;
using captions::token_batch;

// Reasons of bad samples, each sample once, also over resumptions of a run.
class ShardQuarantine {
 public:
  ShardQuarantine(const std::string& file, CaptionCounts& counts) : file_(file), counts_(counts) {
    if (!std::filesystem::exists(file)) return;
    read_jsonl(file, [&](const nlohmann::json& row, const std::string&) {
      if (row.contains("id") && row["id"].is_string()) known_.insert(row["id"].get<std::string>());
    });
    counts_.skipped += static_cast<int64_t>(known_.size());
  }

  void add(const std::string& place, const DataError& error) {
    std::lock_guard lock(mutex_);
    if (!known_.insert(place).second) return;
    ++counts_.skipped;
    JsonlAppender(file_).append({{"id", place}, {"reason", error.what()}});
  }

 private:
  std::string file_;
  CaptionCounts& counts_;
  std::mutex mutex_;
  std::set<std::string> known_;
};

class ShardBatches final : public Source<CaptionBatch> {
 public:
  // A null `quarantine` stops at the first bad sample.
  ShardBatches(SourcePtr<StreamedSample> samples, const CaptionPipeline& pipeline, int64_t size,
               bool mirror, ShardQuarantine* quarantine, CaptionCounts& counts)
      : samples_(std::move(samples)),
        pipeline_(pipeline),
        size_(size),
        mirror_(mirror),
        quarantine_(quarantine),
        counts_(counts) {}

  // Shorter than `size` only at the end of a stream that has one.
  bool next(CaptionBatch& batch) override {
    const ImageProcessor& processor = pipeline_.processor;
    at::Tensor pixels = empty_pixels(size_, processor);
    const int64_t plane = 3 * processor.height() * processor.width();
    std::vector<std::string> texts;
    StreamedSample sample;
    while (static_cast<int64_t>(texts.size()) < size_ && samples_->next(sample)) {
      float* row = pixels.data_ptr<float>() + static_cast<int64_t>(texts.size()) * plane;
      if (auto text = put_row(sample, row)) texts.push_back(std::move(*text));
    }
    if (texts.empty()) return false;
    batch = {};
    batch.pixels = pixels.slice(0, 0, static_cast<int64_t>(texts.size()));
    batch.ids = token_batch(pipeline_, texts);
    counts_.loaded += static_cast<int64_t>(texts.size());
    return true;
  }

  nlohmann::json position() const override { return samples_->position(); }
  void restore(const nlohmann::json& position) override { samples_->restore(position); }

 private:
  // The caption of a sample whose pixels went to `row`; nothing when it was left out.
  std::optional<std::string> put_row(const StreamedSample& sample, float* row) {
    const ImageProcessor& processor = pipeline_.processor;
    const std::string place = sample.place();
    try {
      ShardCaption caption = read_shard_caption(sample.sample.parts, place);
      DecodeOptions decode;
      decode.scale_for = processor.scale_hint();
      const Image image =
          decode_image(sample.sample.parts.at(caption.image), place + "." + caption.image, decode);
      Random flips =
          Random::named(pipeline_.seed, "flip." + std::to_string(sample.epoch) + "." + place);
      put_pixels(processor, processor.to_pixels(image), mirror_ && flips.chance(0.5), row);
      last_good_epoch_ = sample.epoch;
      return std::move(caption.text);
    } catch (const DataError& error) {
      if (quarantine_ == nullptr) throw;
      quarantine_->add(place, error);
      if (sample.epoch > last_good_epoch_ + 1)
        throw DataError(sample.shard, "and the shards beside it hold no usable sample",
                        "The reasons are in the run's quarantine-train.jsonl.");
      return std::nullopt;
    }
  }

  SourcePtr<StreamedSample> samples_;
  const CaptionPipeline& pipeline_;
  int64_t size_;
  bool mirror_;
  ShardQuarantine* quarantine_;
  CaptionCounts& counts_;
  int64_t last_good_epoch_ = 0;
};

class ShardCaptions final : public CaptionSource {
 public:
  ShardCaptions(std::vector<std::string> shards, std::vector<std::string> validation,
                int64_t buffer, CaptionPipeline pipeline, const BadSamples& bad,
                CaptionCounts& counts)
      : shards_(std::move(shards)),
        validation_(std::move(validation)),
        buffer_(buffer),
        pipeline_(std::move(pipeline)),
        counts_(counts) {
    if (bad.mode != OnBadSample::kSkip) return;
    train_quarantine_ = std::make_unique<ShardQuarantine>(bad.quarantine + "-train.jsonl", counts_);
    val_quarantine_ = std::make_unique<ShardQuarantine>(bad.quarantine + "-val.jsonl", counts_);
  }

  SourcePtr<CaptionBatch> open(int64_t batch_size, int64_t rank,
                               int64_t world_size) const override {
    ShardStreamOptions options;
    options.seed = pipeline_.seed;
    options.buffer = buffer_;
    options.part = rank;
    options.parts = world_size;
    return std::make_unique<ShardBatches>(shard_stream(shards_, options), pipeline_, batch_size,
                                          pipeline_.mirror, train_quarantine_.get(), counts_);
  }

  CaptionBatch validation(int64_t count) const override {
    if (validation_.empty()) return {};
    ShardStreamOptions options;
    options.shuffle = false;
    options.epochs = 1;
    CaptionCounts uncounted;
    CaptionBatch batch;
    ShardBatches(shard_stream(validation_, options), pipeline_, count, false, val_quarantine_.get(),
                 uncounted)
        .next(batch);
    return batch;
  }

 private:
  std::vector<std::string> shards_, validation_;
  int64_t buffer_;
  CaptionPipeline pipeline_;
  CaptionCounts& counts_;
  std::unique_ptr<ShardQuarantine> train_quarantine_, val_quarantine_;
};

}  // namespace

std::unique_ptr<CaptionSource> shard_captions(std::vector<std::string> shards,
                                              std::vector<std::string> validation_shards,
                                              int64_t buffer, CaptionPipeline pipeline,
                                              const BadSamples& bad, CaptionCounts& counts) {
  return std::make_unique<ShardCaptions>(std::move(shards), std::move(validation_shards), buffer,
                                         std::move(pipeline), bad, counts);
}

}  // namespace parapet

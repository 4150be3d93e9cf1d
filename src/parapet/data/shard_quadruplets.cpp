// Quadruplets streamed from tar shards.
#include <nlohmann/json.hpp>

#include "parapet/core/json.h"
#include "parapet/data/quadruplets.h"
#include "parapet/data/records.h"
#include "parapet/data/shard_loader.h"
#include "parapet/data/sources/compose.h"

namespace parapet {
namespace {

using Parts = std::map<std::string, std::string>;

// The decoded picture "<side>.<extension>", resized for the model.
std::shared_ptr<const Image> load_side(const ImageProcessor& processor, const Parts& parts,
                                       const std::string& side, const std::string& place) {
  for (const char* extension : {"jpg", "jpeg", "png", "webp", "gif"}) {
    const std::string name = side + "." + extension;
    const auto found = parts.find(name);
    if (found == parts.end()) continue;
    DecodeOptions decode;
    decode.scale_for = processor.scale_hint();
    return std::make_shared<const Image>(
        processor.to_pixels(decode_image(found->second, place + "." + name, decode)));
  }
  throw DataError(place, "has no picture '" + side + "' (jpg, jpeg, png, webp or gif)",
                  "A shard of quadruplets holds KEY.json, KEY.safe.png and KEY.unsafe.png.");
}

LoadedQuadruplet load(const QuadrupletPipeline& pipeline, const StreamedSample& sample) {
  const std::string place = sample.place();
  const Parts& parts = sample.sample.parts;
  const auto record = parts.find("json");
  if (record == parts.end())
    throw DataError(place, "has no record (.json)",
                    "A shard of quadruplets holds KEY.json, KEY.safe.png and KEY.unsafe.png.");
  Quadruplet item;
  const std::string source = place + ".json";
  read_record(parse_json(record->second, source), source, {}, false, item);
  LoadedQuadruplet out = load_texts(pipeline, item);
  out.turn = std::to_string(sample.epoch) + "." + place;
  const ImageProcessor& processor = pipeline.pixels->processor();
  out.safe_image = load_side(processor, parts, "safe", place);
  out.unsafe_image = load_side(processor, parts, "unsafe", place);
  out.keys[2] = content_key(*out.safe_image);
  out.keys[3] = content_key(*out.unsafe_image);
  return out;
}

std::unique_ptr<ShardQuarantine> quarantine_of(const BadSamples& bad, const char* split,
                                               SampleCounts& counts) {
  if (bad.mode != OnBadSample::kSkip) return nullptr;
  return std::make_unique<ShardQuarantine>(bad.quarantine + "-" + split + ".jsonl", counts);
}

class ShardQuadruplets final : public QuadrupletSet {
 public:
  ShardQuadruplets(std::vector<std::string> shards, int64_t buffer, QuadrupletPipeline pipeline,
                   const BadSamples& bad, SampleCounts& counts)
      : shards_(std::move(shards)),
        buffer_(buffer),
        pipeline_(std::move(pipeline)),
        counts_(counts),
        quarantine_(quarantine_of(bad, "train", counts)) {}

  SourcePtr<QuadrupletBatch> open(int64_t batch_size, int64_t rank, int64_t ranks) const override {
    ShardStreamOptions options;
    options.seed = pipeline_.seed;
    options.buffer = buffer_;
    options.part = rank;
    options.parts = ranks;
    auto rows = std::make_unique<ShardLoader<LoadedQuadruplet>>(
        shard_stream(shards_, options), batch_size,
        [this](const StreamedSample& sample) { return load(pipeline_, sample); }, quarantine_.get(),
        counts_);
    return map<std::vector<LoadedQuadruplet>, QuadrupletBatch>(
        std::move(rows), [this](std::vector<LoadedQuadruplet> loaded) {
          return join_quadruplets(pipeline_, loaded);
        });
  }

 private:
  std::vector<std::string> shards_;
  int64_t buffer_;
  QuadrupletPipeline pipeline_;
  SampleCounts& counts_;
  std::unique_ptr<ShardQuarantine> quarantine_;
};

class FirstQuadruplets final : public QuadrupletList {
 public:
  FirstQuadruplets(std::vector<StreamedSample> samples, QuadrupletPipeline pipeline,
                   const BadSamples& bad, SampleCounts& counts)
      : samples_(std::move(samples)),
        pipeline_(std::move(pipeline)),
        quarantine_(quarantine_of(bad, "val", counts)) {}

  int64_t size() const override { return static_cast<int64_t>(samples_.size()); }
  QuadrupletBatch load(int64_t begin, int64_t end) const override {
    return join_quadruplets(pipeline_, load_samples<LoadedQuadruplet>(
                                           samples_, begin, end,
                                           [&](const StreamedSample& sample) {
                                             return parapet::load(pipeline_, sample);
                                           },
                                           quarantine_.get()));
  }

 private:
  std::vector<StreamedSample> samples_;
  QuadrupletPipeline pipeline_;
  std::unique_ptr<ShardQuarantine> quarantine_;
};

}  // namespace

std::unique_ptr<QuadrupletSet> shard_quadruplets(std::vector<std::string> shards, int64_t buffer,
                                                 QuadrupletPipeline pipeline, const BadSamples& bad,
                                                 SampleCounts& counts) {
  return std::make_unique<ShardQuadruplets>(std::move(shards), buffer, std::move(pipeline), bad,
                                            counts);
}

std::unique_ptr<QuadrupletList> first_quadruplets(const std::vector<std::string>& shards,
                                                  int64_t count, QuadrupletPipeline pipeline,
                                                  const BadSamples& bad, SampleCounts& counts) {
  return std::make_unique<FirstQuadruplets>(first_samples(shards, count), std::move(pipeline), bad,
                                            counts);
}

}  // namespace parapet

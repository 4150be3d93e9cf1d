// Captions of a data set directory.
#include <ATen/ATen.h>

#include "parapet/core/random.h"
#include "parapet/data/bad_images.h"
#include "parapet/data/dataset.h"
#include "parapet/data/loader.h"
#include "parapet/methods/contrastive/caption_batch.h"
#include "parapet/methods/contrastive/caption_source.h"

namespace parapet {
namespace {

using captions::empty_pixels;
using captions::put_pixels;
using captions::token_batch;

class DirectoryCaptions final : public IndexedCaptions {
 public:
  DirectoryCaptions(std::vector<CaptionSample> train, std::vector<CaptionSample> val,
                    CaptionPipeline pipeline)
      : train_(std::move(train)), val_(std::move(val)), pipeline_(std::move(pipeline)) {}

  CaptionBatch batch(int64_t index, int64_t size) const override {
    const auto count = static_cast<int64_t>(train_.size());
    std::vector<const CaptionSample*> rows;
    for (const int64_t row : epoch_rows(count, index * size, size, pipeline_.seed, "captions"))
      rows.push_back(&train_[row]);
    return load(rows, index * size, pipeline_.mirror);
  }

  CaptionBatch validation(int64_t count) const override {
    std::vector<const CaptionSample*> rows;
    for (size_t i = 0; i < val_.size() && static_cast<int64_t>(i) < count; ++i)
      rows.push_back(&val_[i]);
    return rows.empty() ? CaptionBatch{} : load(rows, 0, false);
  }

 private:
  CaptionBatch load(const std::vector<const CaptionSample*>& rows, int64_t first,
                    bool mirror) const {
    const ImageProcessor& processor = pipeline_.processor;
    CaptionBatch out;
    out.pixels = empty_pixels(static_cast<int64_t>(rows.size()), processor);
    float* pixels = out.pixels.data_ptr<float>();
    const int64_t plane = 3 * processor.height() * processor.width();
    DecodeOptions decode;
    decode.scale_for = processor.scale_hint();
    std::vector<std::string> texts;
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      Random flips = Random::named(pipeline_.seed, "flip." + std::to_string(first + row));
      put_pixels(processor, processor.to_pixels(load_image(rows[i]->image, decode)),
                 mirror && flips.chance(0.5), pixels + row * plane);
      texts.push_back(rows[i]->text);
    }
    out.ids = token_batch(pipeline_, texts);
    return out;
  }

  std::vector<CaptionSample> train_, val_;
  CaptionPipeline pipeline_;
};

// One split, without bad samples where they are to be skipped.
std::vector<CaptionSample> load_split(const std::string& folder, const std::string& split,
                                      const ImageProcessor& processor, const BadSamples& bad,
                                      CaptionCounts& counts) {
  LoadOptions load;
  load.check_images = true;
  load.on_bad_sample = bad.mode;
  load.quarantine = bad.quarantine + "-" + split + ".jsonl";
  load.context = bad.context;
  LoadReport report;
  auto items = load_captions(folder, split, load, &report);
  counts.skipped += report.skipped;
  if (bad.mode == OnBadSample::kSkip) {
    DecodeOptions decode;
    decode.scale_for = processor.scale_hint();
    counts.skipped += drop_undecodable(items, load.quarantine, report.skipped, decode, bad.context);
  }
  return items;
}

}  // namespace

std::unique_ptr<CaptionSource> directory_captions(const std::string& folder,
                                                  CaptionPipeline pipeline, const BadSamples& bad,
                                                  CaptionCounts& counts) {
  auto train = load_split(folder, "train", pipeline.processor, bad, counts);
  require_samples(train.size(), folder, "captions.jsonl", "train");
  auto val = load_split(folder, "val", pipeline.processor, bad, counts);
  counts.loaded = static_cast<int64_t>(train.size());
  return std::make_unique<DirectoryCaptions>(std::move(train), std::move(val), std::move(pipeline));
}

}  // namespace parapet

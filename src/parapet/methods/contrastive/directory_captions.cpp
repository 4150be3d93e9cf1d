// Captions of a data set directory.
#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "parapet/core/error.h"
#include "parapet/core/random.h"
#include "parapet/data/dataset.h"
#include "parapet/methods/contrastive/caption_batch.h"
#include "parapet/methods/contrastive/caption_source.h"

namespace parapet {
namespace {

using captions::empty_pixels;
using captions::mirror_rows;
using captions::token_batch;

class DirectoryCaptions final : public CaptionSource {
 public:
  DirectoryCaptions(std::vector<CaptionSample> train, std::vector<CaptionSample> val,
                    CaptionPipeline pipeline)
      : train_(std::move(train)), val_(std::move(val)), pipeline_(std::move(pipeline)) {}

  CaptionBatch batch(int64_t index, int64_t size) const override {
    // Sample k of the endless stream is entry k % n of epoch k / n's own order.
    const auto n = static_cast<int64_t>(train_.size());
    std::vector<const CaptionSample*> rows;
    int64_t epoch = -1;
    std::vector<int64_t> order;
    for (int64_t k = index * size; k < (index + 1) * size; ++k) {
      if (k / n != epoch) {
        epoch = k / n;
        order.resize(static_cast<size_t>(n));
        std::iota(order.begin(), order.end(), int64_t{0});
        Random(pipeline_.seed, static_cast<uint64_t>(epoch)).shuffle(order);
      }
      rows.push_back(&train_[order[k % n]]);
    }
    return load(rows, index * size, pipeline_.mirror);
  }

  CaptionBatch validation(int64_t count) const override {
    std::vector<const CaptionSample*> rows;
    for (size_t i = 0; i < val_.size() && static_cast<int64_t>(i) < count; ++i)
      rows.push_back(&val_[i]);
    return rows.empty() ? CaptionBatch{} : load(rows, 0, false);
  }

  int64_t samples() const override { return static_cast<int64_t>(train_.size()); }

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
      processor.normalise(processor.to_pixels(load_image(rows[i]->image, decode)),
                          pixels + static_cast<int64_t>(i) * plane);
      Random flips =
          Random::named(pipeline_.seed, "flip." + std::to_string(first + static_cast<int64_t>(i)));
      if (mirror && flips.chance(0.5))
        mirror_rows(pixels + static_cast<int64_t>(i) * plane, processor.height(),
                    processor.width());
      texts.push_back(rows[i]->text);
    }
    out.ids = token_batch(pipeline_, texts);
    return out;
  }

  std::vector<CaptionSample> train_, val_;
  CaptionPipeline pipeline_;
};

}  // namespace

std::unique_ptr<CaptionSource> directory_captions(const std::string& folder,
                                                  CaptionPipeline pipeline) {
  auto train = load_captions(folder, "train");
  if (train.empty())
    throw DataError(folder + "/captions.jsonl", "holds no caption with split \"train\"");
  return std::make_unique<DirectoryCaptions>(std::move(train), load_captions(folder, "val"),
                                             std::move(pipeline));
}

}  // namespace parapet

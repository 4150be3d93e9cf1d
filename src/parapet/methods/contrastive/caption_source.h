// Batches of images with captions for contrastive training: drawn online from the sample world, or
// read from a data set directory.
#pragma once
#include <ATen/core/Tensor.h>
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "parapet/data/world.h"
#include "parapet/formats/image_processor.h"
#include "parapet/text/tokenizer.h"

namespace parapet {

struct CaptionBatch {
  at::Tensor pixels;   // [n, 3, h, w] float32, normalised
  at::Tensor ids;      // int64 [n, t]
  at::Tensor glyphs;   // float32 [n, kGlyphs] 0/1, what is drawn; undefined outside the world
  at::Tensor colours;  // int64 [n]; undefined outside the world
};

// Batch number `index` of `size` samples is a pure function of the index, so that a resumed run
// sees the same data. Thread-safe.
class CaptionSource {
 public:
  virtual ~CaptionSource() = default;
  virtual CaptionBatch batch(int64_t index, int64_t size) const = 0;
  // Samples of the validation split, in one piece.
  virtual CaptionBatch validation(int64_t count) const = 0;
  // 0 = endless.
  virtual int64_t samples() const = 0;
};

struct CaptionPipeline {
  std::shared_ptr<const Tokenizer> tokenizer;
  ImageProcessor processor = ImageProcessor::clip_default(224);
  int64_t max_tokens = 77;
  bool mirror = true;  // flip images left to right half of the time
  uint64_t seed = 0;   // of the flips and the shuffling
};

// Endless; the captions of `world`'s training split starting at sample `first`.
std::unique_ptr<CaptionSource> world_captions(std::shared_ptr<const SampleWorld> world,
                                              CaptionPipeline pipeline, int64_t first);

// captions.jsonl of a data set directory, reshuffled every epoch. DataError when a split is empty.
std::unique_ptr<CaptionSource> directory_captions(const std::string& folder,
                                                  CaptionPipeline pipeline);

// Draws batch i+1 while batch i trains. The position is the next batch to hand out.
class PrefetchedCaptions {
 public:
  PrefetchedCaptions(const CaptionSource& source, int64_t batch_size, int64_t rank,
                     int64_t world_size);
  CaptionBatch next();
  int64_t position() const { return position_; }
  void seek(int64_t position);

 private:
  CaptionBatch draw(int64_t position) const;
  const CaptionSource& source_;
  int64_t batch_size_, rank_, world_size_;
  int64_t position_ = 0;
  std::future<CaptionBatch> pending_;
};

}  // namespace parapet

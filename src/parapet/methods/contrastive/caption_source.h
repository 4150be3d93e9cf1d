// Batches of images with captions for contrastive training: drawn online from the sample world,
// read from a data set directory, or streamed from tar shards.
#pragma once
#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "parapet/data/dataset.h"
#include "parapet/data/loader.h"
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

// Thread-safe; outlives the streams it opens.
class CaptionSource {
 public:
  virtual ~CaptionSource() = default;
  // This process's endless share of the training batches; a restored position continues with the
  // very same batches.
  virtual SourcePtr<CaptionBatch> open(int64_t batch_size, int64_t rank,
                                       int64_t world_size) const = 0;
  // Samples of the validation split, in one piece; undefined tensors when there are none.
  virtual CaptionBatch validation(int64_t count) const = 0;
};

// Where batch number `index` of `size` samples is a pure function of the index.
class IndexedCaptions : public CaptionSource {
 public:
  virtual CaptionBatch batch(int64_t index, int64_t size) const = 0;
  SourcePtr<CaptionBatch> open(int64_t batch_size, int64_t rank, int64_t world_size) const override;
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

// What became of the samples of a data set.
struct CaptionCounts {
  std::atomic<int64_t> loaded{0};   // training samples of a directory; of shards, those used so far
  std::atomic<int64_t> skipped{0};  // bad ones left out
};

// How bad samples are met: as in LoadOptions; with kSkip their reasons go to `quarantine`-<split>
// and are counted.
struct BadSamples {
  OnBadSample mode = OnBadSample::kStop;
  std::string quarantine;  // path without "-train.jsonl"
  Context context;
};

// captions.jsonl of a data set directory, reshuffled every epoch. DataError when the training split
// is empty or (kStop) images are missing.
std::unique_ptr<CaptionSource> directory_captions(const std::string& folder,
                                                  CaptionPipeline pipeline, const BadSamples& bad,
                                                  CaptionCounts& counts);

// Tar shards in webdataset naming, streamed through a buffer that shuffles `buffer` samples;
// `validation_shards` (may be empty) are read in order. `counts` outlives the source.
std::unique_ptr<CaptionSource> shard_captions(std::vector<std::string> shards,
                                              std::vector<std::string> validation_shards,
                                              int64_t buffer, CaptionPipeline pipeline,
                                              const BadSamples& bad, CaptionCounts& counts);

}  // namespace parapet

// Batches of images with captions for contrastive training: from a data set directory or streamed
// from tar shards here, drawn online from the sample world in data/world_captions.h.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "parapet/data/dataset.h"
#include "parapet/data/input_rows.h"
#include "parapet/data/sources/source.h"
#include "parapet/formats/image_processor.h"
#include "parapet/text/tokenizer.h"

namespace parapet {

struct WorldLabels;  // data/world_captions.h

struct CaptionBatch {
  PixelRows pixels;
  IdRows ids;
  // Rows of equal captions, or of equal pictures, have equal keys.
  std::vector<int64_t> text_keys, image_keys;
  std::shared_ptr<const WorldLabels> world;  // null outside the sample world
  int64_t size() const { return pixels.count; }
};

// Thread-safe; outlives the streams it opens.
class CaptionSet {
 public:
  virtual ~CaptionSet() = default;
  // One process's endless share of the training batches; a restored position continues with the
  // very same batches.
  virtual SourcePtr<CaptionBatch> open(int64_t batch_size, int64_t rank, int64_t ranks) const = 0;
  // One process's share, in whole chunks, of the first `count` samples of the validation split;
  // empty when there are none.
  virtual CaptionBatch validation(int64_t count, int64_t chunk, int64_t rank,
                                  int64_t ranks) const = 0;
};

struct CaptionPipeline {
  std::shared_ptr<const Tokenizer> tokenizer;
  ImageProcessor processor = ImageProcessor::clip_default(224);
  int64_t max_tokens = 77;
  bool mirror = true;  // flip images left to right half of the time
  uint64_t seed = 0;   // of the flips and the shuffling
};

// A sample, decoded and tokenized.
struct LoadedCaption {
  Image image;  // of the processor's size
  bool mirrored = false;
  std::vector<int32_t> ids;
  int64_t text_key = 0, image_key = 0;
};
LoadedCaption load_caption(const CaptionPipeline& pipeline, Image image, const std::string& text,
                           bool mirrored);
CaptionBatch join_captions(const CaptionPipeline& pipeline, const std::vector<LoadedCaption>& rows);

// What became of the samples of a data set.
struct SampleCounts {
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
std::unique_ptr<CaptionSet> directory_captions(const std::string& folder, CaptionPipeline pipeline,
                                               const BadSamples& bad, SampleCounts& counts);

// Tar shards in webdataset naming, streamed through a buffer that shuffles `buffer` samples, for
// data that no memory holds; `validation_shards` (may be empty) are read in order. `counts`
// outlives the set.
std::unique_ptr<CaptionSet> shard_captions(std::vector<std::string> shards,
                                           std::vector<std::string> validation_shards,
                                           int64_t buffer, CaptionPipeline pipeline,
                                           const BadSamples& bad, SampleCounts& counts);

}  // namespace parapet

// Batches of quadruplets for hardening: from a data set directory, or streamed from tar shards.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "parapet/data/captions.h"
#include "parapet/data/dataset.h"
#include "parapet/data/pixel_cache.h"

namespace parapet {

// Whether one half of a generated pair is unsafe, as the data say it (attributes "text_unsafe" and
// "image_unsafe").
enum class Unsafe : uint8_t { kUnknown, kYes, kNo };

struct QuadrupletBatch {
  std::vector<int64_t> rows;  // in the directory's list; empty for shards
  // Names each sample's turn in the stream: a seed for what is drawn per sample.
  std::vector<std::string> turns;
  PixelRows pixels;  // safe images, then unsafe ones; empty where they are not asked for
  IdRows ids;        // safe texts, then unsafe ones; likewise
  // Equal for equal content, of safe texts, then unsafe ones; of safe images, then unsafe ones.
  std::vector<int64_t> text_keys, image_keys;
  std::vector<Unsafe> text_unsafe, image_unsafe;
  int64_t size() const { return static_cast<int64_t>(turns.size()); }
};

struct QuadrupletPipeline {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<PixelCache> pixels;  // also of shards, for its processor
  int64_t max_tokens = 77;
  uint64_t seed = 0;
  bool with_texts = true, with_images = true;  // what batches hold
};

// A sample, decoded and tokenized.
struct LoadedQuadruplet {
  std::shared_ptr<const Image> safe_image, unsafe_image;
  std::vector<int32_t> safe_ids, unsafe_ids;
  int64_t keys[4] = {};  // safe text, unsafe text, safe image, unsafe image
  Unsafe text_unsafe = Unsafe::kUnknown, image_unsafe = Unsafe::kUnknown;
  int64_t row = -1;
  std::string turn;
};
// Texts, labels and their keys of a record.
LoadedQuadruplet load_texts(const QuadrupletPipeline& pipeline, const Quadruplet& item);
QuadrupletBatch join_quadruplets(const QuadrupletPipeline& pipeline,
                                 const std::vector<LoadedQuadruplet>& rows);

// What training draws from. Thread-safe; outlives the streams it opens.
class QuadrupletSet {
 public:
  virtual ~QuadrupletSet() = default;
  // One process's endless share of the training batches; a restored position continues with the
  // very same batches.
  virtual SourcePtr<QuadrupletBatch> open(int64_t batch_size, int64_t rank,
                                          int64_t ranks) const = 0;
};

// A list that is gone through in order.
class QuadrupletList {
 public:
  virtual ~QuadrupletList() = default;
  virtual int64_t size() const = 0;
  // Rows begin .. end - 1, without bad ones where these are to be skipped. DataError names a bad
  // sample.
  virtual QuadrupletBatch load(int64_t begin, int64_t end) const = 0;
};

// The quadruplets of a data set directory, in memory but for their images; training batches are
// reshuffled every epoch.
class DirectoryQuadruplets final : public QuadrupletSet, public QuadrupletList {
 public:
  DirectoryQuadruplets(std::vector<Quadruplet> items, QuadrupletPipeline pipeline)
      : items_(std::move(items)), pipeline_(std::move(pipeline)) {}

  const std::vector<Quadruplet>& items() const { return items_; }
  SourcePtr<QuadrupletBatch> open(int64_t batch_size, int64_t rank, int64_t ranks) const override;
  int64_t size() const override { return static_cast<int64_t>(items_.size()); }
  QuadrupletBatch load(int64_t begin, int64_t end) const override;

 private:
  LoadedQuadruplet load_row(int64_t row) const;

  std::vector<Quadruplet> items_;
  QuadrupletPipeline pipeline_;
};

// Tar shards that hold whole quadruplets, as `parapet world build --format tar` writes them: each
// sample a record (json) beside its pictures (safe.png, unsafe.png; also jpg, jpeg, webp, gif).
// Streamed through a buffer that shuffles `buffer` samples, for data that no memory holds; each
// process has its own shards. `counts` outlives the set.
std::unique_ptr<QuadrupletSet> shard_quadruplets(std::vector<std::string> shards, int64_t buffer,
                                                 QuadrupletPipeline pipeline, const BadSamples& bad,
                                                 SampleCounts& counts);
// The first `count` samples of such shards, in order; their encoded bytes stay in memory.
std::unique_ptr<QuadrupletList> first_quadruplets(const std::vector<std::string>& shards,
                                                  int64_t count, QuadrupletPipeline pipeline,
                                                  const BadSamples& bad, SampleCounts& counts);

}  // namespace parapet

// What the untouched original says about quadruplets: from a table computed before training, or
// computed for each batch where the data are too many for a table.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "parapet/data/quadruplets.h"
#include "parapet/engine/encoder/quadruplet_embeddings.h"
#include "parapet/engine/torch/torch_encoder.h"
#include "parapet/models/clip/clip.h"
#include "parapet/training/distributed.h"

namespace parapet {

// A batch as tensors; undefined where the batch holds none.
struct QuadrupletTensors {
  at::Tensor ids;     // int64 [2n, t], safe texts, then unsafe ones
  at::Tensor pixels;  // float32 [2n, 3, h, w], safe images, then unsafe ones
  QuadrupletTensors() = default;
  explicit QuadrupletTensors(const QuadrupletBatch& batch);  // in CPU memory, which it shares
};

// Unit embeddings of the parts that `input` has; the others stay undefined.
QuadrupletEmbeddings embed_batch(const ClipModel& model, const QuadrupletTensors& input);

class References {
 public:
  virtual ~References() = default;
  // Of a batch's rows, on the CPU: what is known before the model computes. Parts are undefined
  // where there is no table; then they come from compute().
  virtual QuadrupletEmbeddings rows(const QuadrupletBatch& batch) const = 0;
  // The original's embeddings of a batch on the model's device; without gradient.
  virtual QuadrupletEmbeddings compute(const QuadrupletTensors& input) const = 0;
  // Of all rows, on the CPU; null where there is no table.
  virtual const QuadrupletEmbeddings* table() const { return nullptr; }
};

std::unique_ptr<References> table_references(QuadrupletEmbeddings table);
// `original` outlives this. Its adapters, if it has any, are switched off.
std::unique_ptr<References> live_references(const ClipModel& original);

// The references of `items`, each process a share; every process returns all.
QuadrupletEmbeddings embed_references(Encoder& original, const std::vector<Quadruplet>& items,
                                      Communicator& communicator, const Context& context);
// `inner` with its images from `pixels`, so that what is decoded here need not be again in
// training.
std::unique_ptr<Encoder> with_pixels(std::unique_ptr<Encoder> inner, PixelCache& pixels);

// What the frozen weights compute for a few samples, seen past the adapters. Compared within one
// process, since another thread count or processor may round differently. The weights must stay the
// same to the bit everywhere, the embeddings on the CPU; a GPU's libraries may choose another
// algorithm for the same product later in the run, so that there cosines decide: at least 1 - 1e-5
// where float32 is computed, 1 - 1e-3 with bfloat16, whose products round at 2^-8.
class FrozenProbe {
 public:
  FrozenProbe(ClipModel& model, QuadrupletBatch batch);

  const std::string& hash() const { return hash_; }
  // CheckFailed when weights or embeddings are no longer the same.
  void check() const;
  // Of the probe's first rows: cached references that are not this model's, e.g. of a file that
  // was edited, are a DataError.
  void check_references(const QuadrupletEmbeddings& table) const;

 private:
  QuadrupletEmbeddings compute() const;

  ClipModel& model_;
  QuadrupletBatch batch_;
  std::string hash_;
  QuadrupletEmbeddings embeds_;
};

}  // namespace parapet

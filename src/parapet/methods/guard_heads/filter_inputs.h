// Pixels, token ids and embeddings of labelled samples, as they are or changed.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/engine/cache/embedding_store.h"
#include "parapet/engine/torch/torch_encoder.h"
#include "parapet/methods/guard_heads/filter_data.h"

namespace parapet {

class Communicator;

class FilterInputs {
 public:
  // Everything is referred to and must outlive this object.
  FilterInputs(const FilterSet& set, const ClipAssets& assets, int64_t max_tokens,
               const AugmentOptions& augment, uint64_t seed);
  // [n, 3, h, w] float32, normalised. Version 0 is the sample; every other version is one set of
  // changes, drawn from (seed, version, row). A missing image is grey. DataError names a bad one.
  at::Tensor pixels(const std::vector<int64_t>& rows, int64_t version) const;
  // int64 [n, longest].
  at::Tensor ids(const std::vector<int64_t>& rows, int64_t version) const;
  const FilterSet& set() const { return set_; }
  // int64 [all samples], equal for equal texts, and for equal pictures (by their bytes); made at
  // the first call, on one thread.
  const at::Tensor& text_keys() const;
  const at::Tensor& image_keys() const;
  // Whether a sample has the side.
  bool has(bool image, int64_t row) const;
  // Under which the embedding of a side is kept. A sample as it is has the key that every command
  // gives such an image or text; a changed one is told apart by all that its changes come from.
  std::string embedding_key(bool image, int64_t row, int64_t version,
                            const std::string& encoder) const;

 private:
  const FilterSet& set_;
  const ClipAssets& assets_;
  int64_t max_tokens_;
  AugmentOptions augment_;
  uint64_t seed_;
  std::string changes_;  // what versions but the first are made by
  mutable at::Tensor text_keys_, image_keys_;
};

// Unit embeddings, float32 [versions, n, d] on the CPU: version 0 is the sample itself, the others
// are changed copies. Rows of an absent side are 0.
struct FilterEmbeddings {
  at::Tensor image, text;
};
// Rows that `store` (null = none) holds under `encoder_key` come from there, the others are
// computed and kept. Each process computes a share, all return the same.
FilterEmbeddings embed_filter_set(const FilterInputs& inputs, const ClipModel& model,
                                  int64_t copies, const std::string& encoder_key,
                                  EmbeddingStore* store, Communicator& communicator,
                                  const Context& context);

}  // namespace parapet

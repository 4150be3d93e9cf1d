// Quadruplets ready for a CLIP model: token ids once, pixels decoded on demand and kept while they
// fit a budget.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "parapet/data/dataset.h"
#include "parapet/engine/torch/torch_encoder.h"

namespace parapet {

class QuadrupletStore {
 public:
  // `pixel_budget` bytes of decoded 8-bit pixels are kept in memory.
  QuadrupletStore(std::vector<Quadruplet> items, ClipAssets assets, int64_t max_tokens,
                  int64_t pixel_budget);

  int64_t size() const { return static_cast<int64_t>(items_.size()); }
  const std::vector<Quadruplet>& items() const { return items_; }

  // Ids of the safe texts, then of the unsafe ones, int64 [2n, t], padded to the longest.
  at::Tensor ids(const std::vector<int64_t>& rows) const;
  // Safe images, then unsafe ones, [2n, 3, h, w], normalised. DataError names a bad image.
  at::Tensor pixels(const std::vector<int64_t>& rows) const;

  std::vector<std::string> safe_texts() const;
  std::vector<std::string> unsafe_texts() const;
  std::vector<std::string> safe_images() const;

 private:
  const Image& cached(int64_t slot, const std::string& location, Image& scratch) const;

  std::vector<Quadruplet> items_;
  ClipAssets assets_;
  std::vector<std::vector<int32_t>> safe_ids_, unsafe_ids_;
  int64_t pixel_budget_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Image>> cache_;  // safe images, then unsafe ones
  mutable int64_t cached_bytes_ = 0;
};

}  // namespace parapet

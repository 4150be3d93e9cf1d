// Perceptual hashes near a given one, among millions: multi-index hashing. Sixteen tables, one per
// 16-bit piece; of two hashes that differ in d bits some piece differs in at most d / 16.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "parapet/formats/image_hash.h"

namespace parapet::guard {

class HashIndex {
 public:
  // At most 2^31 - 1 hashes; about 100 bytes each.
  explicit HashIndex(std::vector<PdqHash> hashes);
  size_t size() const { return hashes_.size(); }
  const PdqHash& operator[](size_t i) const { return hashes_[i]; }

  struct Match {
    int64_t index = -1;  // of the hashes given; -1 = none
    int distance = 0;
  };
  // The nearest within `max_distance` (0..63), the earlier of equals. Thread-safe.
  Match nearest(const PdqHash& hash, int max_distance) const;

 private:
  static constexpr size_t kPieces = 16;
  Match scan(const PdqHash& hash, int max_distance) const;
  void gather(size_t piece, uint32_t value, std::vector<uint32_t>& candidates) const;

  std::vector<PdqHash> hashes_;
  // Per piece: starts of 65,536 buckets, then the indices in them.
  std::vector<std::vector<uint32_t>> starts_, items_;
};

}  // namespace parapet::guard

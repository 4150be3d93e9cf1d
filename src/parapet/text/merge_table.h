// Merge rules by pair of ids, and the merging of symbols in rank order.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace parapet::text {

class MergeTable {
 public:
  struct Merge {
    int32_t rank;
    int32_t id;
  };
  static constexpr int32_t kNoRank = INT32_MAX;

  void reserve(size_t rules);
  // A later rule for the same pair replaces the earlier one.
  void add(int32_t left, int32_t right, int32_t rank, int32_t id);
  // rank == kNoRank when the pair does not merge.
  Merge find(int32_t left, int32_t right) const;
  // Applies the rules to `symbols` in place, lowest rank first, then leftmost. A scan for short
  // words; a heap, n log n, for long ones.
  void apply(std::vector<int32_t>& symbols) const;

 private:
  struct Slot {
    uint64_t pair;
    Merge merge;
  };
  size_t slot_of(uint64_t pair) const;
  void apply_short(std::vector<int32_t>& symbols) const;
  void apply_long(std::vector<int32_t>& symbols) const;

  std::vector<Slot> slots_;  // open addressing, power of two, at most half full
};

}  // namespace parapet::text

// Which rows of a finite list belong to one process.
#pragma once
#include <algorithm>
#include <cstdint>

namespace parapet {

struct RowRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

// The contiguous share of `count` rows that process `rank` of `ranks` has: whole chunks of `chunk`
// rows (the last may be shorter), so that several processes together compute the very batches that
// a single one would. Shares in rank order are the whole list.
inline RowRange share_of(int64_t count, int64_t chunk, int64_t rank, int64_t ranks) {
  const int64_t chunks = (count + chunk - 1) / chunk;
  const auto edge = [&](int64_t r) { return std::min(count, chunks * r / ranks * chunk); };
  return {edge(rank), edge(rank + 1)};
}

}  // namespace parapet

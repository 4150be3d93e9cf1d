// In which order samples are drawn: the start of most chains.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "parapet/core/random.h"
#include "parapet/data/sources/source.h"

namespace parapet {

// 0 .. count-1, once.
SourcePtr<int64_t> indices(int64_t count);
// first, first + 1, ... without end.
SourcePtr<int64_t> numbers_from(int64_t first);

// One sample's turn in a shuffled stream.
struct Draw {
  int64_t row = 0;     // in [0, count)
  int64_t number = 0;  // of all draws of the stream, from 0: the same row comes again each epoch
};

// Every row once per epoch, in an order of its own per (seed, purpose, epoch); `epochs` < 0 =
// endless. The order is made once per epoch. UsageError when `count` is 0.
SourcePtr<Draw> shuffled_draws(int64_t count, uint64_t seed, std::string_view purpose,
                               int64_t epochs = -1);

// 0 .. count-1 in an order drawn from `random`.
std::vector<int64_t> shuffled_order(int64_t count, Random random);

}  // namespace parapet

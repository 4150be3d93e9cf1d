// Plain threads for work outside torch (decoding, rendering, tokenizing).
#pragma once
#include <cstdint>
#include <functional>

namespace parapet {

// Runs fn(i) for i in [0, count) on up to `threads` threads (0 = hardware), in no set order. The
// first exception stops the hand-out of further items and is rethrown here.
void parallel_items(int64_t count, int64_t threads, const std::function<void(int64_t)>& fn);

}  // namespace parapet

// Items done in parallel on the shared pool, for work outside torch (decoding, rendering,
// tokenizing).
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "parapet/core/thread_pool.h"

namespace parapet {

struct ParallelOptions {
  // At most, the caller included; 0 = one per core. More than the machine has is for items that
  // mostly wait: the pool then gets that many threads more.
  int64_t threads = 0;
  const std::atomic<bool>* cancel = nullptr;  // once true, no item is begun and Cancelled is thrown
  ThreadPool* pool = nullptr;                 // null = the shared one
};

// Runs fn(i) once for every i in [0, count), begun in order, and returns when all have ended. The
// caller takes items itself. An exception stops the hand-out of further items; of several that of
// the lowest item is rethrown here: the one that a plain loop would have met.
void parallel_items(int64_t count, const ParallelOptions& options,
                    const std::function<void(int64_t)>& fn);
// The same with `threads` alone.
void parallel_items(int64_t count, int64_t threads, const std::function<void(int64_t)>& fn);

// The results of fn(0) .. fn(count - 1), in order.
template <class Fn>
auto parallel_map(int64_t count, const ParallelOptions& options, const Fn& fn) {
  using R = std::invoke_result_t<Fn, int64_t>;
  std::vector<std::optional<R>> slots(static_cast<size_t>(count));
  parallel_items(count, options, [&](int64_t i) { slots[static_cast<size_t>(i)].emplace(fn(i)); });
  std::vector<R> results;
  results.reserve(slots.size());
  for (auto& slot : slots) results.push_back(std::move(*slot));
  return results;
}

}  // namespace parapet

#include "parapet/core/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace parapet {
namespace {

TEST(ParallelItems, EveryItemOnce) {
  for (const int64_t threads : {0, 1, 3, 50}) {
    std::vector<std::atomic<int>> seen(200);
    parallel_items(200, threads, [&](int64_t i) { ++seen[static_cast<size_t>(i)]; });
    for (const auto& count : seen) EXPECT_EQ(count, 1);
  }
  parallel_items(0, 4, [](int64_t) { FAIL() << "no items, no calls"; });
}

TEST(ParallelItems, RethrowsAndStopsHandingOut) {
  for (const int64_t threads : {1, 4}) {
    std::atomic<int> calls{0};
    EXPECT_THROW(parallel_items(1'000'000, threads,
                                [&](int64_t i) {
                                  ++calls;
                                  if (i == 10) throw std::runtime_error("item 10");
                                }),
                 std::runtime_error);
    EXPECT_LT(calls, 1'000'000);
  }
}

}  // namespace
}  // namespace parapet

#include "parapet/serving/side_by_side.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <latch>
#include <stdexcept>
#include <thread>

namespace parapet::serving {
namespace {

using namespace std::chrono_literals;

// Runs the list in a worker, as a request does; the message of its exception, or "".
std::string in_a_worker(WorkerPool& pool, size_t count, const std::function<void(size_t)>& fn) {
  std::promise<std::string> done;
  EXPECT_TRUE(pool.submit([&] {
    std::string message;
    try {
      side_by_side(pool, count, fn);
    } catch (const std::exception& error) {
      message = error.what();
    }
    done.set_value(message);
  }));
  auto future = done.get_future();
  if (future.wait_for(30s) != std::future_status::ready) {
    ADD_FAILURE() << "stuck";
    std::abort();
  }
  return future.get();
}

TEST(SideBySide, EveryItemOnceWhateverThePool) {
  for (const int64_t threads : {1, 2, 7}) {
    WorkerPool pool(threads, 1);
    for (const size_t count : {1, 2, 100}) {
      std::vector<std::atomic<int>> calls(count);
      EXPECT_EQ(in_a_worker(pool, count, [&](size_t i) { ++calls[i]; }), "");
      for (const auto& one : calls) EXPECT_EQ(one, 1);
    }
  }
}

TEST(SideBySide, IdleWorkersHelp) {
  WorkerPool pool(4, 0);
  std::latch all(4);  // passed only by four items under way at once
  EXPECT_EQ(in_a_worker(pool, 4, [&](size_t) { all.arrive_and_wait(); }), "");
}

// As many lists as workers: each does its own items.
TEST(SideBySide, ListsInEveryWorkerEndToo) {
  WorkerPool pool(3, 3);
  std::atomic<int> calls{0};
  std::latch lists(6);
  for (int i = 0; i < 6; ++i)
    EXPECT_TRUE(pool.submit([&] {
      side_by_side(pool, 50, [&](size_t) { ++calls; });
      lists.count_down();
    }));
  lists.wait();
  EXPECT_EQ(calls, 300);
}

TEST(SideBySide, OfSeveralMistakesTheFirstItemsIsThrown) {
  WorkerPool pool(4, 0);
  std::latch all(4);
  std::atomic<int> calls{0};
  EXPECT_EQ(in_a_worker(pool, 100,
                        [&](size_t i) {
                          ++calls;
                          if (i < 4) all.arrive_and_wait();
                          if (i > 0) throw std::runtime_error("item " + std::to_string(i));
                        }),
            "item 1");
  EXPECT_LT(calls, 100);
}

// A long list holds back nobody: helpers go to a request that came in meanwhile.
TEST(SideBySide, HelpersLeaveForRequests) {
  WorkerPool pool(2, 4);
  std::promise<void> other;
  auto served = other.get_future().share();
  std::atomic<bool> sent{false};
  EXPECT_EQ(in_a_worker(pool, 1000,
                        [&](size_t i) {
                          if (i > 0 && !sent.exchange(true))
                            EXPECT_TRUE(pool.submit([&] { other.set_value(); }));
                          // The last item waits for the request: it must not be behind the list.
                          if (i == 999) EXPECT_EQ(served.wait_for(20s), std::future_status::ready);
                        }),
            "");
}

}  // namespace
}  // namespace parapet::serving

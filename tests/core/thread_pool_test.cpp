#include "parapet/core/thread_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <stdexcept>
#include <string>

#include "parapet/core/error.h"
#include "parapet/core/threads.h"

namespace parapet {
namespace {

using namespace std::chrono_literals;

// Waits at most 20 s; what follows says what is wrong.
template <class Condition>
void wait_until(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(100us);
}

TEST(ParallelItems, LowestFailureIsTheOneThrown) {
  for (int round = 0; round < 50; ++round) {
    std::string said;
    try {
      parallel_items(64, 4, [&](int64_t i) {
        if (i == 20) std::this_thread::sleep_for(200us);
        if (i >= 20) throw std::runtime_error(std::to_string(i));
      });
    } catch (const std::runtime_error& error) {
      said = error.what();
    }
    EXPECT_EQ(said, "20");
  }
}

// Items that wait for each other need a thread each, on whatever machine.
TEST(ParallelItems, WideCallsGetAThreadPerItem) {
  const int64_t wide = ThreadPool::cores() + 6;
  std::atomic<int64_t> inside{0};
  parallel_items(wide, wide, [&](int64_t) {
    ++inside;
    wait_until([&] { return inside == wide; });
  });
  EXPECT_EQ(inside, wide);
}

TEST(ParallelItems, NestsToAnyDepth) {
  for (const int64_t threads : {0, 1, 3}) {
    ThreadPool pool(threads);
    const ParallelOptions options{.threads = 3, .pool = &pool};
    std::atomic<int64_t> leaves{0};
    parallel_items(5, options, [&](int64_t) {
      parallel_items(5, options,
                     [&](int64_t) { parallel_items(5, options, [&](int64_t) { ++leaves; }); });
    });
    EXPECT_EQ(leaves, 125);
  }
}

TEST(ParallelItems, AFailureDeepInsideArrives) {
  EXPECT_THROW(parallel_items(4, 4,
                              [](int64_t) {
                                parallel_items(4, 4, [](int64_t i) {
                                  if (i == 2) throw DataError("file", "is bad");
                                });
                              }),
               DataError);
}

TEST(ParallelItems, CancelStopsTheHandOut) {
  std::atomic<bool> cancel{false};
  std::atomic<int64_t> calls{0};
  EXPECT_THROW(parallel_items(1'000'000, {.threads = 3, .cancel = &cancel},
                              [&](int64_t) {
                                if (++calls == 10) cancel = true;
                              }),
               Cancelled);
  EXPECT_LT(calls, 1'000'000);
}

TEST(ParallelMap, KeepsTheOrder) {
  // A type without a default constructor.
  struct Value {
    explicit Value(int64_t of) : number(of) {}
    int64_t number;
  };
  const auto values = parallel_map(500, {.threads = 4}, [](int64_t i) { return Value(i * i); });
  ASSERT_EQ(values.size(), 500U);
  for (int64_t i = 0; i < 500; ++i) EXPECT_EQ(values[static_cast<size_t>(i)].number, i * i);
}

// A long call leaves threads to what comes later: with one helper, both calls get it.
TEST(ThreadPool, HelpersTakeTurns) {
  ThreadPool pool(1);
  std::atomic<bool> stop{false};
  std::atomic<int64_t> helped{0};
  std::thread long_call([&] {
    const auto caller = std::this_thread::get_id();
    EXPECT_THROW(parallel_items(1'000'000, {.threads = 2, .cancel = &stop, .pool = &pool},
                                [&](int64_t) {
                                  if (std::this_thread::get_id() != caller) ++helped;
                                  std::this_thread::sleep_for(100us);
                                }),
                 Cancelled);
  });
  wait_until([&] { return helped > 0; });
  std::atomic<int64_t> inside{0};
  parallel_items(2, {.threads = 2, .pool = &pool}, [&](int64_t) {
    ++inside;
    wait_until([&] { return inside == 2; });
  });
  EXPECT_EQ(inside, 2);
  const int64_t before = helped;
  wait_until([&] { return helped > before; });
  EXPECT_GT(helped, before);
  stop = true;
  long_call.join();
}

TEST(Pending, RunsHereWhereNobodyElseDoes) {
  ThreadPool pool(0);
  Pending<std::thread::id> pending(pool, [] { return std::this_thread::get_id(); });
  EXPECT_TRUE(pending.valid());
  EXPECT_EQ(pending.get(), std::this_thread::get_id());
  EXPECT_FALSE(pending.valid());
}

TEST(Pending, RunsBesideItsCaller) {
  std::atomic<bool> begun{false};
  auto pending = in_background([&] {
    begun = true;
    return std::make_unique<int>(7);
  });
  wait_until([&] { return begun.load(); });
  EXPECT_TRUE(begun);
  EXPECT_EQ(*pending.get(), 7);
}

TEST(Pending, FailuresArriveAtGet) {
  for (const int64_t threads : {0, 2}) {
    ThreadPool pool(threads);
    Pending<int> pending(pool, []() -> int { throw DataError("row 3", "is bad"); });
    EXPECT_THROW(pending.get(), DataError);
  }
}

// What a call refers to may die right after the result was dropped.
TEST(Pending, DroppedCallsHaveEndedOrNeverBegin) {
  ThreadPool pool(1);
  for (int round = 0; round < 200; ++round) {
    auto value = std::make_unique<std::atomic<int>>(0);
    {
      Pending<int> first(pool, [&] { return ++*value; });
      Pending<int> second(pool, [&] { return ++*value; });
    }
    value.reset();
  }
}

// The way to map a stream in order.
TEST(Pending, AQueueOfThemIsAnOrderedMap) {
  for (const int64_t threads : {0, 3}) {
    ThreadPool pool(threads);
    std::deque<Pending<int64_t>> ahead;
    std::vector<int64_t> out;
    for (int64_t next = 0; next < 100 || !ahead.empty();) {
      while (next < 100 && ahead.size() < 8)
        ahead.emplace_back(pool, [i = next++] { return 3 * i; });
      out.push_back(ahead.front().get());
      ahead.pop_front();
    }
    ASSERT_EQ(out.size(), 100U);
    for (int64_t i = 0; i < 100; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], 3 * i);
  }
}

}  // namespace
}  // namespace parapet

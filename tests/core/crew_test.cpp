#include "parapet/core/crew.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>

namespace parapet {
namespace {

using namespace std::chrono_literals;

// Waits at most 20 s; what follows says what is wrong.
template <class Condition>
void wait_until(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(100us);
}

// Holds everybody who comes until `open`, or until told to leave.
struct Gate final : SharedWork {
  std::atomic<int> inside{0}, most{0}, told{0};
  std::atomic<bool> open{false};
  void member(const Leave& leave) override {
    most = std::max<int>(most, ++inside);
    while (!open && !(leave && leave())) std::this_thread::sleep_for(100us);
    if (!open) ++told;
    --inside;
  }
};

TEST(Crew, HelpersComeAndTheCallerDoesNotNeedThem) {
  Crew crew(4);
  auto gate = std::make_shared<Gate>();
  std::thread caller([&] { crew.run(gate); });
  wait_until([&] { return gate->inside == 4; });
  EXPECT_EQ(gate->inside, 4);
  gate->open = true;
  caller.join();
  Crew alone(0);
  EXPECT_EQ(alone.count(), 1);
  alone.run(gate);
}

// A helper leaves when another caller needs its core, and comes back when that one has ended.
TEST(Crew, HelpersMakeRoomForCallers) {
  Crew crew(2);
  auto first = std::make_shared<Gate>(), second = std::make_shared<Gate>();
  std::thread one([&] { crew.run(first); });
  wait_until([&] { return first->inside == 2; });
  std::thread two([&] { crew.run(second); });
  wait_until([&] { return second->inside == 1 && first->inside == 1; });
  EXPECT_EQ(first->inside, 1);
  EXPECT_EQ(first->told, 1);
  second->open = true;
  two.join();
  EXPECT_EQ(second->most, 1);
  wait_until([&] { return first->inside == 2; });
  EXPECT_EQ(first->inside, 2);
  first->open = true;
  one.join();
}

TEST(Crew, LetsGoOfTheWork) {
  Crew crew(3);
  auto gate = std::make_shared<Gate>();
  gate->open = true;
  crew.run(gate);
  const std::weak_ptr<Gate> watched = gate;
  gate.reset();
  wait_until([&] { return watched.expired(); });
  EXPECT_TRUE(watched.expired());
}

// Every item of every step once, and no step before the one ahead of it has ended.
struct Counting final : SharedWork {
  static constexpr int64_t kSteps = 200, kItems = 37;
  SharedSteps steps{kSteps};
  std::vector<std::atomic<int>> done = std::vector<std::atomic<int>>(kSteps * kItems);
  std::atomic<int> early{0};
  void member(const Leave& leave) override {
    SharedSteps::Walker walker(steps, leave);
    for (int64_t step = 0; step < kSteps; ++step)
      walker.step(kItems, 1 + step % 5, [&](int64_t begin, int64_t end) {
        for (int64_t item = begin; item < end; ++item) {
          if (step > 0)
            for (int64_t before = 0; before < kItems; ++before)
              if (done[(step - 1) * kItems + before] != 1) ++early;
          ++done[step * kItems + item];
        }
      });
  }
  void check() const {
    EXPECT_EQ(early, 0);
    for (const auto& times : done) ASSERT_EQ(times, 1);
  }
};

TEST(Crew, EveryItemOnceAndInOrder) {
  Crew crew(4);
  for (int round = 0; round < 20; ++round) {
    auto work = std::make_shared<Counting>();
    crew.run(work);
    work->check();
  }
}

// Helpers move between callers at any step; nothing is done twice or left out.
TEST(Crew, ManyCallersAtOnce) {
  Crew crew(3);
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      for (int round = 0; round < 10; ++round) {
        auto work = std::make_shared<Counting>();
        crew.run(work);
        work->check();
      }
    });
  for (auto& caller : callers) caller.join();
}

struct Failing final : SharedWork {
  void member(const Leave&) override { throw std::bad_alloc(); }
};

TEST(Crew, WantOfMemoryIsTheCallers) {
  Crew crew(3);
  EXPECT_THROW(crew.run(std::make_shared<Failing>()), std::bad_alloc);
  auto work = std::make_shared<Counting>();
  crew.run(work);
  work->check();
}

// Helpers that fail before they have taken anything, with whatever exception, are done without.
struct FailingHelpers final : SharedWork {
  std::atomic<int> failed{0};
  Counting inner;
  void member(const Leave& leave) override {
    if (leave) {
      ++failed;
      throw std::runtime_error("no memory, in another library's words");
    }
    wait_until([&] { return failed > 0; });
    inner.member(leave);
  }
};

TEST(Crew, GoesOnWithoutHelpersThatFail) {
  Crew crew(3);
  auto work = std::make_shared<FailingHelpers>();
  crew.run(work);
  EXPECT_GT(work->failed, 0);
  work->inner.check();
}

// An item that fails on a helper is thrown to the caller, who does not wait for it for ever.
struct FailingItem final : SharedWork {
  SharedSteps steps{3};
  std::atomic<bool> helped{false};
  void member(const Leave& leave) override {
    SharedSteps::Walker walker(steps, leave);
    for (int step = 0; step < 3; ++step)
      walker.step(40, 1, [&](int64_t, int64_t) {
        if (leave) {
          helped = true;
          throw std::runtime_error("an item of a helper");
        }
        wait_until([&] { return helped.load(); });
      });
    if (!leave) steps.failure().rethrow();
  }
};

TEST(Crew, FailuresOfHelpersAreTheCallers) {
  Crew crew(3);
  EXPECT_THROW(crew.run(std::make_shared<FailingItem>()), std::runtime_error);
  auto work = std::make_shared<Counting>();
  crew.run(work);
  work->check();
}

// A thread that comes when all is done finds nothing to do and does not wait.
TEST(SharedSteps, LatecomersPassThrough) {
  SharedSteps steps(3);
  int64_t sum = 0;
  const Leave never;
  for (int member = 0; member < 2; ++member) {
    SharedSteps::Walker walker(steps, never);
    for (int step = 0; step < 3; ++step)
      walker.step(5, 2, [&](int64_t begin, int64_t end) { sum += end - begin; });
    EXPECT_FALSE(walker.left());
  }
  EXPECT_EQ(sum, 15);
}

}  // namespace
}  // namespace parapet

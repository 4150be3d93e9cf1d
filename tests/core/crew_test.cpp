#include "parapet/core/crew.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <numeric>

namespace parapet {
namespace {

using Task = std::function<void()>;

TEST(Crew, InvitedThreadsCallTheWork) {
  Crew crew(4);
  auto calls = std::make_shared<std::atomic<int>>(0);
  auto all = std::make_shared<std::promise<void>>();
  crew.invite(std::make_shared<const Task>([calls, all] {
    if (++*calls == 3) all->set_value();
  }));
  all->get_future().wait();
  EXPECT_EQ(*calls, 3);
}

TEST(Crew, OfOneHasNoThreadsAndEndsAtOnce) {
  Crew crew(0);
  EXPECT_EQ(crew.count(), 1);
  crew.invite(std::make_shared<const Task>([] { FAIL() << "nobody is there to call it"; }));
}

TEST(Crew, LetsGoOfTheWorkWhenItIsDone) {
  Crew crew(2);
  auto owned = std::make_shared<std::promise<void>>();
  const std::weak_ptr<std::promise<void>> watched = owned;
  auto ended = owned->get_future();
  crew.invite(std::make_shared<const Task>([owned] { owned->set_value(); }));
  owned.reset();
  ended.wait();
  for (int i = 0; i < 20'000 && !watched.expired(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_TRUE(watched.expired());
}

TEST(Crew, KnowsWhoIsAlone) {
  Crew crew(2);
  {
    const Crew::Visit first(crew);
    EXPECT_TRUE(first.alone());
    const Crew::Visit second(crew);
    EXPECT_FALSE(second.alone());
  }
  EXPECT_TRUE(Crew::Visit(crew).alone());
}

// Every item of every step is done once, and no step starts before the one ahead of it has ended.
TEST(SharedSteps, EveryItemOnceAndInOrder) {
  constexpr int64_t kSteps = 200, kItems = 37;
  struct Work {
    SharedSteps steps{kSteps};
    std::vector<std::atomic<int>> done = std::vector<std::atomic<int>>(kSteps * kItems);
    std::atomic<int> early{0};
    void member() {
      SharedSteps::Walker walker(steps);
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
  };
  Crew crew(4);
  for (int round = 0; round < 20; ++round) {
    auto work = std::make_shared<Work>();
    crew.invite(std::make_shared<const Task>([work] { work->member(); }));
    work->member();  // returns when all steps are done, whoever did them
    EXPECT_EQ(work->early, 0);
    for (const auto& times : work->done) ASSERT_EQ(times, 1);
  }
}

// A thread that comes when all is done finds nothing to do and does not wait.
TEST(SharedSteps, LatecomersPassThrough) {
  SharedSteps steps(3);
  int64_t sum = 0;
  for (int member = 0; member < 2; ++member) {
    SharedSteps::Walker walker(steps);
    for (int step = 0; step < 3; ++step)
      walker.step(5, 2, [&](int64_t begin, int64_t end) { sum += end - begin; });
  }
  EXPECT_EQ(sum, 15);
}

}  // namespace
}  // namespace parapet

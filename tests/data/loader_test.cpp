#include "parapet/data/loader.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>

namespace parapet {
namespace {

template <class T>
std::vector<T> take(Source<T>& source, int64_t count) {
  std::vector<T> out;
  T value{};
  while (static_cast<int64_t>(out.size()) < count && source.next(value)) out.push_back(value);
  return out;
}

// The chain that training uses.
SourcePtr<std::vector<int64_t>> make_chain() {
  auto batches = batch<int64_t>(shuffled_indices(17, 5), 4);
  auto mapped = map_batch<int64_t, int64_t>(
      std::move(batches), [](const int64_t& i) { return i * 10; }, 2);
  return prefetch<std::vector<int64_t>>(std::move(mapped), 3);
}

TEST(Loader, AnEpochIsAPermutationOfItsOwn) {
  auto source = shuffled_indices(50, 1, 2);
  const auto first = take(*source, 50);
  const auto second = take(*source, 100);
  EXPECT_EQ(std::set<int64_t>(first.begin(), first.end()).size(), 50u);
  EXPECT_EQ(std::set<int64_t>(second.begin(), second.end()).size(), 50u);
  EXPECT_EQ(second.size(), 50u);
  EXPECT_NE(first, second);
  EXPECT_EQ(take(*shuffled_indices(50, 1), 50), first);
  EXPECT_NE(take(*shuffled_indices(50, 2), 50), first);
}

TEST(Loader, TheWholeChainResumesExactlyAnywhere) {
  auto reference = make_chain();
  const auto all = take(*reference, 14);
  for (size_t cut = 0; cut < 13; ++cut) {
    auto killed = make_chain();
    take(*killed, static_cast<int64_t>(cut));
    // Give the prefetching thread time to run ahead; its lead must not count.
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const auto saved = nlohmann::json::parse(killed->position().dump());
    auto resumed = make_chain();
    take(*resumed, 2);
    resumed->restore(saved);
    EXPECT_EQ(resumed->position(), saved);
    const auto rest = take(*resumed, static_cast<int64_t>(14 - cut));
    EXPECT_EQ(rest, std::vector<std::vector<int64_t>>(all.begin() + static_cast<int64_t>(cut),
                                                      all.end()));
  }
}

TEST(Loader, BatchesEndShortOrAreDropped) {
  EXPECT_EQ(take(*batch<int64_t>(indices(7), 3), 9).back(), std::vector<int64_t>{6});
  EXPECT_EQ(take(*batch<int64_t>(indices(7), 3, true), 9).size(), 2u);
  EXPECT_THROW(batch<int64_t>(indices(7), 0), UsageError);
}

TEST(Loader, MapBatchKeepsOrder) {
  std::atomic<int> running{0};
  auto source = map_batch<int64_t, int64_t>(
      batch<int64_t>(indices(64), 64),
      [&](const int64_t& i) {
        ++running;
        if (i % 7 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
        return i + 1;
      },
      4);
  std::vector<int64_t> values;
  ASSERT_TRUE(source->next(values));
  for (int64_t i = 0; i < 64; ++i) EXPECT_EQ(values[static_cast<size_t>(i)], i + 1);
  EXPECT_EQ(running, 64);
}

TEST(Loader, AnErrorArrivesInItsTurnAndStays) {
  auto source = prefetch<int64_t>(map<int64_t, int64_t>(indices(10),
                                                        [](int64_t i) {
                                                          if (i == 3)
                                                            throw DataError("b.png", "is damaged");
                                                          return i;
                                                        }),
                                  4);
  EXPECT_EQ(take(*source, 3).size(), 3u);
  int64_t value;
  EXPECT_THROW(source->next(value), DataError);
  EXPECT_THROW(source->next(value), DataError);
}

TEST(Loader, TheEndRemainsTheEnd) {
  auto source = prefetch<int64_t>(indices(2), 2);
  EXPECT_EQ(take(*source, 5).size(), 2u);
  int64_t value = 7;
  EXPECT_FALSE(source->next(value));
  EXPECT_FALSE(source->next(value));
  EXPECT_EQ(value, 7);
}

TEST(Loader, ProcessesShareAnEpochWithoutOverlap) {
  auto zero = strided(shuffled_indices(11, 3, 1), 0, 2);
  auto one = strided(shuffled_indices(11, 3, 1), 1, 2);
  const auto a = take(*zero, 99), b = take(*one, 99);
  EXPECT_EQ(a.size(), 5u);
  EXPECT_EQ(b.size(), 5u);
  std::set<int64_t> both(a.begin(), a.end());
  both.insert(b.begin(), b.end());
  EXPECT_EQ(both.size(), 10u);
}

TEST(Loader, RefusesAPositionOfAnotherDataSet) {
  auto source = shuffled_indices(10, 1);
  take(*source, 3);
  const auto position = source->position();
  EXPECT_THROW(shuffled_indices(11, 1)->restore(position), DataError);
  EXPECT_THROW(shuffled_indices(10, 2)->restore(position), DataError);
  auto bad = position;
  bad["at"] = 11;
  EXPECT_THROW(shuffled_indices(10, 1)->restore(bad), DataError);
  bad["at"] = "three";
  EXPECT_THROW(shuffled_indices(10, 1)->restore(bad), DataError);
  EXPECT_THROW(shuffled_indices(10, 1)->restore(nlohmann::json::array()), DataError);
  EXPECT_THROW(shuffled_indices(0, 1), UsageError);
}

}  // namespace
}  // namespace parapet

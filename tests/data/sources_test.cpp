#include "parapet/data/sources/compose.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "parapet/data/sources/order.h"
#include "parapet/data/sources/prefetch.h"
#include "parapet/data/sources/share.h"

namespace parapet {
namespace {

template <class T>
std::vector<T> take(Source<T>& source, int64_t count) {
  std::vector<T> out;
  T value{};
  while (static_cast<int64_t>(out.size()) < count && source.next(value)) out.push_back(value);
  return out;
}

// Rows of the next `count` draws.
std::vector<int64_t> take_rows(Source<Draw>& source, int64_t count) {
  std::vector<int64_t> rows;
  for (const Draw& draw : take(source, count)) rows.push_back(draw.row);
  return rows;
}

// The chain that training uses.
SourcePtr<std::vector<int64_t>> make_chain() {
  auto mapped = map_members<Draw, int64_t>(
      batch(shuffled_draws(17, 5, "test"), 4), [](const Draw& draw) { return draw.row * 10; }, 2);
  return prefetch<std::vector<int64_t>>(std::move(mapped), 3);
}

TEST(Sources, AnEpochIsAPermutationOfItsOwn) {
  auto source = shuffled_draws(50, 1, "test", 2);
  const auto first = take_rows(*source, 50);
  const auto second = take_rows(*source, 100);
  EXPECT_EQ(std::set<int64_t>(first.begin(), first.end()).size(), 50u);
  EXPECT_EQ(std::set<int64_t>(second.begin(), second.end()).size(), 50u);
  EXPECT_EQ(second.size(), 50u);
  EXPECT_NE(first, second);
  EXPECT_EQ(take_rows(*shuffled_draws(50, 1, "test"), 50), first);
  EXPECT_NE(take_rows(*shuffled_draws(50, 2, "test"), 50), first);
  EXPECT_NE(take_rows(*shuffled_draws(50, 1, "other"), 50), first);
}

TEST(Sources, DrawsAreNumberedOverAllEpochs) {
  const auto draws = take(*shuffled_draws(7, 1, "test"), 20);
  for (int64_t i = 0; i < 20; ++i) EXPECT_EQ(draws[static_cast<size_t>(i)].number, i);
}

TEST(Sources, TheWholeChainResumesExactlyAnywhere) {
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

TEST(Sources, BatchesEndShortOrAreDropped) {
  EXPECT_EQ(take(*batch<int64_t>(indices(7), 3), 9).back(), std::vector<int64_t>{6});
  EXPECT_EQ(take(*batch<int64_t>(indices(7), 3, true), 9).size(), 2u);
  EXPECT_THROW(batch<int64_t>(indices(7), 0), UsageError);
}

TEST(Sources, MapMembersKeepsOrder) {
  std::atomic<int> running{0};
  auto source = map_members<int64_t, int64_t>(
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

TEST(Sources, AnErrorArrivesInItsTurnAndStays) {
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

TEST(Sources, TheEndRemainsTheEnd) {
  auto source = prefetch<int64_t>(indices(2), 2);
  EXPECT_EQ(take(*source, 5).size(), 2u);
  int64_t value = 7;
  EXPECT_FALSE(source->next(value));
  EXPECT_FALSE(source->next(value));
  EXPECT_EQ(value, 7);
}

TEST(Sources, ProcessesShareAnEpochWithoutOverlap) {
  std::set<int64_t> both;
  for (const int64_t rank : {0, 1}) {
    const auto own = take(*shard_by_rank(shuffled_draws(11, 3, "test", 1), rank, 2), 99);
    EXPECT_EQ(own.size(), 5u);
    for (const Draw& draw : own) both.insert(draw.row);
  }
  EXPECT_EQ(both.size(), 10u);
}

TEST(Sources, RefusesAPositionOfAnotherDataSet) {
  const auto shuffled = [](int64_t count, uint64_t seed) {
    return shuffled_draws(count, seed, "test");
  };
  auto source = shuffled(10, 1);
  take(*source, 3);
  const auto position = source->position();
  EXPECT_THROW(shuffled(11, 1)->restore(position), DataError);
  EXPECT_THROW(shuffled(10, 2)->restore(position), DataError);
  auto bad = position;
  bad["at"] = 11;
  EXPECT_THROW(shuffled(10, 1)->restore(bad), DataError);
  bad["at"] = "three";
  EXPECT_THROW(shuffled(10, 1)->restore(bad), DataError);
  EXPECT_THROW(shuffled(10, 1)->restore(nlohmann::json::array()), DataError);
  EXPECT_THROW(shuffled(0, 1), UsageError);
  EXPECT_THROW(numbers_from(5)->restore(numbers_from(4)->position()), DataError);
}

TEST(Sources, ASequenceResumesInEitherPart) {
  const auto make = [] { return sequence(numbers_from(0), 3, numbers_from(100)); };
  const std::vector<int64_t> all = {0, 1, 2, 100, 101};
  EXPECT_EQ(take(*make(), 5), all);
  for (size_t cut = 0; cut <= 5; ++cut) {
    auto first = make(), second = make();
    take(*first, static_cast<int64_t>(cut));
    take(*second, 4);
    second->restore(first->position());
    EXPECT_EQ(take(*second, static_cast<int64_t>(5 - cut)),
              std::vector<int64_t>(all.begin() + static_cast<int64_t>(cut), all.end()));
  }
  EXPECT_THROW(sequence(numbers_from(0), 4, numbers_from(100))->restore(make()->position()),
               DataError);
}

TEST(Sources, SharesAreWholeChunksAndTheWholeList) {
  for (const int64_t count : {0, 1, 7, 100, 256})
    for (const int64_t chunk : {1, 7, 64, 500})
      for (const int64_t ranks : {1, 2, 5}) {
        int64_t end = 0;
        for (int64_t rank = 0; rank < ranks; ++rank) {
          const RowRange own = share_of(count, chunk, rank, ranks);
          EXPECT_EQ(own.begin, end);
          EXPECT_TRUE(own.begin % chunk == 0 || own.size() == 0);
          end = own.end;
        }
        EXPECT_EQ(end, count) << chunk << " " << ranks;
      }
}

}  // namespace
}  // namespace parapet

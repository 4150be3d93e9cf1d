// Samples streamed from shards: complete, shuffled, shared out, resumable.
#include "parapet/data/shard_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "parapet/data/sources/prefetch.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

using ::testing::HasSubstr;

class ShardStreamTest : public ::testing::Test {
 protected:
  // Shard s holds samples "s<s>_<i>".
  std::vector<std::string> write(const std::vector<int64_t>& sizes, const char* ending = ".tar") {
    std::vector<std::string> shards;
    for (size_t s = 0; s < sizes.size(); ++s) {
      shards.push_back((folder / ("x-" + std::to_string(s) + ending)).string());
      TarWriter writer(shards.back());
      for (int64_t i = 0; i < sizes[s]; ++i) {
        const std::string key = "s" + std::to_string(s) + "_" + std::to_string(i);
        writer.add(key + ".png", std::string(10, 'p'));
        writer.add(key + ".txt", key);
      }
      writer.finish();
    }
    return shards;
  }
  static std::vector<std::string> draw(Source<StreamedSample>& source, int64_t count = 1 << 20) {
    std::vector<std::string> keys;
    for (StreamedSample sample; static_cast<int64_t>(keys.size()) < count && source.next(sample);) {
      EXPECT_EQ(sample.sample.parts.at("txt"), sample.sample.key);
      keys.push_back(sample.sample.key);
    }
    return keys;
  }
  test::TempFolder folder;
};

ShardStreamOptions with(int64_t buffer, int64_t epochs = 1, int64_t part = 0, int64_t parts = 1) {
  ShardStreamOptions options;
  options.seed = 5;
  options.buffer = buffer;
  options.epochs = epochs;
  options.part = part;
  options.parts = parts;
  return options;
}

TEST_F(ShardStreamTest, EverySampleOncePerEpochInOrdersOfTheirOwn) {
  const auto shards = write({7, 3, 9});
  for (const int64_t buffer : {1, 4, 100}) {
    const auto keys = draw(*shard_stream(shards, with(buffer, 3)));
    ASSERT_EQ(keys.size(), 57u);
    std::vector<std::vector<std::string>> epochs;
    for (size_t e = 0; e < 3; ++e) {
      epochs.emplace_back(keys.begin() + 19 * e, keys.begin() + 19 * (e + 1));
      EXPECT_EQ(std::set<std::string>(epochs[e].begin(), epochs[e].end()).size(), 19u);
    }
    if (buffer > 1) {
      EXPECT_NE(epochs[0], epochs[1]);
      EXPECT_NE(epochs[1], epochs[2]);
    }
    EXPECT_EQ(keys, draw(*shard_stream(shards, with(buffer, 3))));
  }
  ShardStreamOptions other = with(100);
  other.seed = 6;
  EXPECT_NE(draw(*shard_stream(shards, with(100))), draw(*shard_stream(shards, other)));
}

TEST_F(ShardStreamTest, TheBufferMixesSamplesOfSeveralShards) {
  const auto shards = write({20, 20, 20});
  const auto keys = draw(*shard_stream(shards, with(30)), 20);
  std::set<char> seen;
  for (const auto& key : keys) seen.insert(key[1]);
  EXPECT_GT(seen.size(), 1u);
}

TEST_F(ShardStreamTest, WithoutShufflingInOrder) {
  ShardStreamOptions options = with(50);
  options.shuffle = false;
  EXPECT_EQ(draw(*shard_stream(write({2, 2}), options)),
            (std::vector<std::string>{"s0_0", "s0_1", "s1_0", "s1_1"}));
}

TEST_F(ShardStreamTest, PartsShareTheShardsAnewEachEpoch) {
  const auto shards = write({4, 4, 4, 4});
  std::multiset<std::string> all;
  std::vector<std::string> first_part;
  for (const int64_t part : {0, 1}) {
    const auto keys = draw(*shard_stream(shards, with(3, 6, part, 2)));
    ASSERT_EQ(keys.size(), 48u);
    all.insert(keys.begin(), keys.end());
    if (part == 0) first_part = keys;
  }
  for (const auto& key : std::set<std::string>(all.begin(), all.end()))
    EXPECT_EQ(all.count(key), 6u) << key;
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), 16u);
  // Not the same two shards in all six epochs.
  EXPECT_GT(std::set<std::string>(first_part.begin(), first_part.end()).size(), 8u);
}

TEST_F(ShardStreamTest, ARestoredStreamContinuesExactly) {
  const auto shards = write({7, 3, 9}, ".tar.gz");
  for (const int64_t buffer : {1, 4, 100}) {
    const auto whole = draw(*shard_stream(shards, with(buffer, 3)));
    for (const int64_t stop : {0, 1, 6, 18, 19, 20, 40, 56, 57}) {
      auto first = shard_stream(shards, with(buffer, 3));
      const auto before = draw(*first, stop);
      const auto position = nlohmann::json::parse(first->position().dump());
      auto second = shard_stream(shards, with(buffer, 3));
      draw(*second, 5);  // whatever it did before
      second->restore(position);
      auto joined = before;
      const auto after = draw(*second);
      joined.insert(joined.end(), after.begin(), after.end());
      EXPECT_EQ(joined, whole) << "buffer " << buffer << ", stopped after " << stop;
    }
  }
}

TEST_F(ShardStreamTest, PrefetchedItContinuesExactlyToo) {
  const auto shards = write({7, 3, 9});
  const auto whole = draw(*shard_stream(shards, with(5, 2)));
  auto ahead = prefetch(shard_stream(shards, with(5, 2)), 3);
  const auto before = draw(*ahead, 9);
  auto second = prefetch(shard_stream(shards, with(5, 2)), 1);
  second->restore(ahead->position());
  auto joined = before;
  for (const auto& key : draw(*second)) joined.push_back(key);
  EXPECT_EQ(joined, whole);
}

TEST_F(ShardStreamTest, TheBufferIsBoundedInBytesToo) {
  ShardStreamOptions options = with(100);
  options.buffer_bytes = 1;
  const auto shards = write({5, 5});
  auto stream = shard_stream(shards, options);
  draw(*stream, 1);
  EXPECT_TRUE(stream->position()["buffer"].empty());
}

TEST_F(ShardStreamTest, BadPositionsAndShardsAreRefused) {
  const auto shards = write({3, 3});
  auto stream = shard_stream(shards, with(2));
  const auto position = stream->position();
  for (const char* field : {"epoch", "at", "read", "buffer", "random", "any"}) {
    auto broken = position;
    broken.erase(field);
    EXPECT_THROW(stream->restore(broken), DataError) << field;
  }
  auto broken = position;
  broken["buffer"] = {7, 0};
  EXPECT_THROW(stream->restore(broken), DataError);
  broken["buffer"] = {0, 99};
  EXPECT_THROW(stream->restore(broken), DataError);
  EXPECT_THROW(shard_stream(write({3, 3, 3}), with(2))->restore(position), DataError);
  EXPECT_THROW(shard_stream(shards, with(2, 1, 0, 3)), UsageError);
  EXPECT_THROW(shard_stream({}, with(2)), UsageError);
  const auto empty = write({0});
  EXPECT_THROW(draw(*shard_stream({empty.front()}, with(2, -1))), DataError);
  std::ofstream(folder / "bad.tar") << std::string(3000, 'x');
  EXPECT_THROW(draw(*shard_stream({(folder / "bad.tar").string()}, with(2))), DataError);
}

TEST_F(ShardStreamTest, NamesOfShards) {
  write({1, 1}, ".tar.gz");
  EXPECT_TRUE(names_shards("a-{00..10}.tar"));
  EXPECT_TRUE(names_shards("a.tar.zst"));
  EXPECT_FALSE(names_shards("data/world"));
  const std::string here = folder.path().string();
  EXPECT_TRUE(names_shards(here));
  EXPECT_EQ(list_shards(here).size(), 2u);
  EXPECT_EQ(list_shards(here + "/x-{0..1}.tar.gz"), list_shards(here));
  try {
    list_shards(here + "/x-{0..2}.tar.gz");
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("x-2.tar.gz"));
  }
  // A data set directory may hold tar files of images.
  std::ofstream(folder / "captions.jsonl") << "";
  EXPECT_FALSE(names_shards(here));
}

}  // namespace
}  // namespace parapet

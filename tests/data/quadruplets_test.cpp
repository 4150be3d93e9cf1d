// Quadruplets as training draws them: from a directory and from shards, complete, resumable, each
// image decoded once where memory allows.
#include "parapet/data/quadruplets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "parapet/core/error.h"
#include "parapet/formats/tar.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

using ::testing::HasSubstr;

// One id per character.
class LetterTokenizer final : public Tokenizer {
 public:
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions&) const override {
    return {text.begin(), text.end()};
  }
  std::string decode(const std::vector<int32_t>&, bool) const override { return {}; }
  int64_t vocab_size() const override { return 128; }
  int32_t token_id(std::string_view) const override { return -1; }
  int32_t bos_id() const override { return 0; }
  int32_t eos_id() const override { return 1; }
  int32_t pad_id() const override { return 1; }
  bool is_marker(int32_t id) const override { return id == eos_id(); }
  int64_t model_max_length() const override { return 0; }
};

// A plain picture; its first byte tells which.
std::string picture(int number) {
  return encode_png({8, 8, std::vector<uint8_t>(8 * 8 * 3, static_cast<uint8_t>(number))}, 1);
}

class QuadrupletsTest : public ::testing::Test {
 protected:
  QuadrupletPipeline pipeline(int64_t budget = 1 << 20) {
    QuadrupletPipeline out;
    out.tokenizer = std::make_shared<LetterTokenizer>();
    out.pixels = std::make_shared<PixelCache>(ImageProcessor::clip_default(4), budget);
    out.seed = 3;
    return out;
  }

  std::vector<Quadruplet> items(int count) {
    std::vector<Quadruplet> list;
    for (int i = 0; i < count; ++i) {
      Quadruplet item;
      item.id = std::to_string(i);
      item.safe_text = "s" + item.id;
      item.unsafe_text = "unsafe" + item.id;
      item.safe_image = write("v" + item.id + ".png", picture(2 * i));
      item.unsafe_image = write("g" + item.id + ".png", picture(2 * i + 1));
      list.push_back(std::move(item));
    }
    return list;
  }
  std::string write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder / name, std::ios::binary) << bytes;
    return (folder / name).string();
  }

  // Shard s holds samples 10 s .. 10 s + count - 1.
  std::vector<std::string> shards(int shards, int count) {
    std::vector<std::string> list;
    for (int s = 0; s < shards; ++s) {
      list.push_back((folder / ("q-" + std::to_string(s) + ".tar")).string());
      TarWriter writer(list.back());
      for (int i = 10 * s; i < 10 * s + count; ++i) {
        const std::string key = "q" + std::to_string(i);
        writer.add(key + ".safe.png", i == broken_ ? "no picture" : picture(2 * i));
        writer.add(key + ".unsafe.png", picture(2 * i + 1));
        writer.add(key + ".json", R"({"id": ")" + key + R"(", "safe_text": "s)" +
                                      std::to_string(i) + R"(", "unsafe_text": "u", )" +
                                      R"("safe_image": "x.tar#a", "unsafe_image": "x.tar#b", )" +
                                      R"("category": "fire", "split": "train"})");
      }
      writer.finish();
    }
    return list;
  }

  test::TempFolder folder;
  SampleCounts counts_;
  int broken_ = -1;
};

std::vector<QuadrupletBatch> take(Source<QuadrupletBatch>& source, int count) {
  std::vector<QuadrupletBatch> list;
  for (QuadrupletBatch batch; count > 0 && source.next(batch); --count)
    list.push_back(std::move(batch));
  return list;
}

bool same(const QuadrupletBatch& a, const QuadrupletBatch& b) {
  return a.rows == b.rows && a.turns == b.turns && a.ids.values == b.ids.values &&
         a.pixels.count == b.pixels.count &&
         std::equal(a.pixels.row(0), a.pixels.row(a.pixels.count), b.pixels.row(0));
}

TEST_F(QuadrupletsTest, ABatchHoldsSafeHalvesThenUnsafeOnes) {
  const DirectoryQuadruplets set(items(5), pipeline());
  const QuadrupletBatch batch = set.load(1, 4);
  EXPECT_EQ(batch.rows, (std::vector<int64_t>{1, 2, 3}));
  ASSERT_EQ(batch.ids.count, 6);
  EXPECT_EQ(batch.ids.width, 7);
  EXPECT_EQ(batch.ids.values[0], 's');
  EXPECT_EQ(batch.ids.values[1], '1');
  EXPECT_EQ(batch.ids.values[2], 1) << "padded with the end of text";
  EXPECT_EQ(batch.ids.values[3 * 7 + 6], '1') << "unsafe1";
  ASSERT_EQ(batch.pixels.count, 6);
  const auto& processor = ImageProcessor::clip_default(4);
  for (int64_t i = 0; i < 6; ++i) {
    const int64_t number = i < 3 ? 2 * (i + 1) : 2 * (i - 3 + 1) + 1;
    EXPECT_NEAR(batch.pixels.row(i)[0],
                (static_cast<double>(number) / 255 - processor.mean()[0]) / processor.std()[0],
                1e-5);
  }
  EXPECT_EQ(std::set<int64_t>(batch.image_keys.begin(), batch.image_keys.end()).size(), 6u);
}

TEST_F(QuadrupletsTest, EqualContentHasEqualKeysWhereverItLies) {
  auto list = items(3);
  list[2].safe_image = write("copy.png", picture(0));
  list[2].safe_text = list[1].safe_text;
  const auto batch = DirectoryQuadruplets(list, pipeline()).load(0, 3);
  EXPECT_EQ(batch.image_keys[2], batch.image_keys[0]);
  EXPECT_NE(batch.image_keys[1], batch.image_keys[0]);
  EXPECT_EQ(batch.text_keys[2], batch.text_keys[1]);
  EXPECT_NE(batch.text_keys[0], batch.text_keys[1]);
}

TEST_F(QuadrupletsTest, AnImageIsDecodedOncePerRunWhereMemoryAllows) {
  const auto kept = pipeline(), dropped = pipeline(0);
  const DirectoryQuadruplets with(items(8), kept), without(items(8), dropped);
  for (const auto* set : {&with, &without}) {
    set->load(0, 8);
    take(*set->open(4, 0, 1), 6);  // three epochs
  }
  EXPECT_EQ(kept.pixels->decoded(), 16);
  EXPECT_EQ(dropped.pixels->decoded(), 64) << "once per sample and pass";
}

TEST_F(QuadrupletsTest, ProcessesShareTheBatchesOfOneAndResume) {
  const DirectoryQuadruplets set(items(7), pipeline());
  const auto whole = take(*set.open(3, 0, 1), 8);
  const auto second = take(*set.open(3, 1, 2), 4);
  ASSERT_EQ(whole.size(), 8u);
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(same(whole[2 * i + 1], second[i])) << i;
  std::multiset<int64_t> drawn;
  for (size_t i = 0; i < 7; ++i) drawn.insert(whole[i].rows.begin(), whole[i].rows.end());
  for (int64_t row = 0; row < 7; ++row) EXPECT_EQ(drawn.count(row), 3u) << "three epochs";
  for (const int cut : {0, 2, 5}) {
    auto first = set.open(3, 0, 1), again = set.open(3, 0, 1);
    take(*first, cut);
    take(*again, 4);
    again->restore(nlohmann::json::parse(first->position().dump()));
    EXPECT_TRUE(same(take(*again, 1).at(0), whole[static_cast<size_t>(cut)])) << cut;
  }
}

TEST_F(QuadrupletsTest, ShardsAreStreamedCompletelyAndResume) {
  const auto files = shards(3, 6);
  const auto set = shard_quadruplets(files, 5, pipeline(), {}, counts_);
  const auto whole = take(*set->open(6, 0, 1), 9);
  ASSERT_EQ(whole.size(), 9u);
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::set<int64_t> texts;
    for (size_t b = 0; b < 3; ++b) {
      const auto& batch = whole[static_cast<size_t>(3 * epoch) + b];
      EXPECT_EQ(batch.size(), 6);
      EXPECT_TRUE(batch.rows.empty());
      texts.insert(batch.text_keys.begin(), batch.text_keys.begin() + 6);
    }
    EXPECT_EQ(texts.size(), 18u) << "every sample once in epoch " << epoch;
  }
  for (const int cut : {1, 4, 7}) {
    auto first = set->open(6, 0, 1), again = set->open(6, 0, 1);
    take(*first, cut);
    take(*again, 2);
    again->restore(nlohmann::json::parse(first->position().dump()));
    for (size_t i = static_cast<size_t>(cut); i < 9; ++i)
      EXPECT_TRUE(same(take(*again, 1).at(0), whole[i])) << cut << " " << i;
  }
  const auto list = first_quadruplets(files, 4, pipeline(), {}, counts_);
  EXPECT_EQ(list->size(), 4);
  EXPECT_EQ(list->load(1, 3).text_keys[0], content_key(std::string("s1")));
}

TEST_F(QuadrupletsTest, ABadSampleOfAShardStopsOrIsLeftOut) {
  broken_ = 3;
  const auto files = shards(2, 6);
  const auto strict = shard_quadruplets(files, 5, pipeline(), {}, counts_);
  try {
    take(*strict->open(6, 0, 1), 2);
    FAIL() << "a bad picture must not pass";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("q3.safe.png"));
  }
  const BadSamples skip{OnBadSample::kSkip, (folder / "quarantine").string(), {}};
  const auto set = shard_quadruplets(files, 5, pipeline(), skip, counts_);
  std::set<int64_t> texts;
  for (const auto& batch : take(*set->open(11, 0, 1), 1)) {
    EXPECT_EQ(batch.size(), 11);
    texts.insert(batch.text_keys.begin(), batch.text_keys.begin() + 11);
  }
  EXPECT_EQ(texts.size(), 11u);
  EXPECT_EQ(counts_.skipped, 1);
  EXPECT_TRUE(std::filesystem::exists(folder / "quarantine-train.jsonl"));
}

}  // namespace
}  // namespace parapet

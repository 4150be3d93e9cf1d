// The cache of embeddings: when it asks the encoder, and when it must not.
#include "parapet/engine/cache/cached_encoder.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "support/item_encoder.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

// Counts what it is asked; row i is the length of item i.
class Counting final : public test::ItemEncoder {
 public:
  Counting(int64_t* calls, std::vector<std::string>* asked) : calls_(*calls), asked_(*asked) {}
  int64_t dim() const override { return 2; }
  double logit_scale() const override { return 7; }

 private:
  at::Tensor rows(const std::vector<std::string>& items) override {
    ++calls_;
    asked_.insert(asked_.end(), items.begin(), items.end());
    at::Tensor out = at::empty({static_cast<int64_t>(items.size()), 2}, at::kFloat);
    for (size_t i = 0; i < items.size(); ++i)
      out[static_cast<int64_t>(i)].fill_(static_cast<double>(items[i].size()));
    return out;
  }
  int64_t& calls_;
  std::vector<std::string>& asked_;
};

class CachedEncoderTest : public ::testing::Test {
 protected:
  std::unique_ptr<Encoder> open(const std::string& key) {
    return cached_encoder(std::make_unique<Counting>(&calls, &asked), key, folder / "cache");
  }
  std::string image(const std::string& name, const std::string& bytes) {
    std::ofstream(folder / name) << bytes;
    return (folder / name).string();
  }
  test::TempFolder folder;
  int64_t calls = 0;
  std::vector<std::string> asked;
};

TEST_F(CachedEncoderTest, TheSameTextsAreAskedOnce) {
  const std::vector<std::string> texts = {"a", "bcd"};
  const at::Tensor first = open("m")->encode_texts(texts, {});
  const at::Tensor again = open("m")->encode_texts(texts, {});
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(first.equal(again));
  EXPECT_EQ(again[1][0].item<float>(), 3);
  EXPECT_EQ(open("m")->logit_scale(), 7);
}

TEST_F(CachedEncoderTest, OrderDoesNotMatterButCutsKindsAndModelsDo) {
  open("m")->encode_texts({"ab", "c"}, {});
  EXPECT_EQ(open("m")->encode_texts({"c", "ab", "c"}, {})[1][0].item<float>(), 2);
  EXPECT_EQ(calls, 1);
  open("m")->encode_texts({"a", "bc"}, {});  // the same bytes, cut elsewhere
  open("other")->encode_texts({"ab", "c"}, {});
  open("m")->encode_images({image("ab.png", "ab")}, {});  // a picture of a text's bytes
  EXPECT_EQ(calls, 4);
}

TEST_F(CachedEncoderTest, OnlyWhatIsMissingIsAsked) {
  open("m")->encode_texts({"a", "bb"}, {});
  EncodeStats stats;
  const at::Tensor all = open("m")->encode_texts({"bb", "dddd", "a", "ccc"}, {}, &stats);
  EXPECT_EQ(asked, (std::vector<std::string>{"a", "bb", "dddd", "ccc"}));
  EXPECT_EQ(stats.items, 4);
  for (const auto& [row, length] : {std::pair(0, 2), {1, 4}, {2, 1}, {3, 3}})
    EXPECT_EQ(all[row][1].item<float>(), length);
}

TEST_F(CachedEncoderTest, ImagesCountByContentNotByName) {
  const std::string a = image("a.png", "pixels"), b = image("b.png", "pixels");
  open("m")->encode_images({a}, {});
  open("m")->encode_images({b}, {});
  EXPECT_EQ(calls, 1);
  image("b.png", "others");
  open("m")->encode_images({b}, {});
  EXPECT_EQ(calls, 2);
  EXPECT_THROW(open("m")->encode_images({(folder / "none.png").string()}, {}), DataError);
}

TEST_F(CachedEncoderTest, ADamagedFileIsNamed) {
  open("m")->encode_texts({"a"}, {});
  write_file_atomic(folder / "cache" / EmbeddingStore::kFileName, "no database at all, but text");
  try {
    open("m")->encode_texts({"a"}, {});
    FAIL() << "a damaged file was used";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("embeddings.sqlite"), std::string::npos);
  }
}

// An embedding of another width, whoever wrote it, is computed and not passed on.
TEST_F(CachedEncoderTest, RowsOfAnotherWidthAreNotUsed) {
  const std::vector<float> wrong = {1, 2, 3};
  const EmbeddingStore::Row row(EmbeddingStore::key("text", "m", "a"), wrong);
  open_embedding_store(folder / "cache", {})->put({&row, 1});
  EXPECT_EQ(open("m")->encode_texts({"a"}, {})[0][0].item<float>(), 1);
}

TEST_F(CachedEncoderTest, FilesOfEarlierFormatsAreReportedAndNotUsed) {
  fs::create_directories(folder / "cache");
  write_file_atomic(folder / "cache/images-0123.safetensors", "whatever");
  write_file_atomic(folder / "cache/texts-0123.safetensors", "whatever");
  write_file_atomic(folder / "cache/guard-0123.safetensors", "whatever");
  std::string said;
  Context context;
  context.log_sink = [&](LogLevel, std::string_view message) { said += message; };
  open("m")->encode_texts({"a"}, context);
  EXPECT_EQ(calls, 1);
  EXPECT_NE(said.find("3 files"), std::string::npos) << said;
}

TEST_F(CachedEncoderTest, AnEmptyFolderIsNoCache) {
  auto plain = cached_encoder(std::make_unique<Counting>(&calls, &asked), "m", "");
  plain->encode_texts({"a"}, {});
  plain->encode_texts({"a"}, {});
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace parapet

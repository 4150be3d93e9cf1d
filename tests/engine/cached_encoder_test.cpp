// The cache of embeddings: when it asks the encoder, and when it must not.
#include "parapet/engine/cache/cached_encoder.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>

#include "parapet/core/error.h"
#include "support/item_encoder.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

// Counts what it is asked; row i is the length of item i.
class Counting final : public test::ItemEncoder {
 public:
  explicit Counting(int64_t* calls) : calls_(*calls) {}
  int64_t dim() const override { return 2; }
  double logit_scale() const override { return 7; }

 private:
  at::Tensor rows(const std::vector<std::string>& items) override {
    ++calls_;
    at::Tensor out = at::empty({static_cast<int64_t>(items.size()), 2}, at::kFloat);
    for (size_t i = 0; i < items.size(); ++i)
      out[static_cast<int64_t>(i)].fill_(static_cast<double>(items[i].size()));
    return out;
  }
  int64_t& calls_;
};

class CachedEncoderTest : public ::testing::Test {
 protected:
  std::unique_ptr<Encoder> open(const std::string& key) {
    return cached_encoder(std::make_unique<Counting>(&calls), key, folder / "cache");
  }
  std::string image(const std::string& name, const std::string& bytes) {
    std::ofstream(folder / name) << bytes;
    return (folder / name).string();
  }
  test::TempFolder folder;
  int64_t calls = 0;
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

TEST_F(CachedEncoderTest, OtherTextsOrdersKindsAndModelsAreAsked) {
  open("m")->encode_texts({"ab", "c"}, {});
  open("m")->encode_texts({"c", "ab"}, {});
  open("m")->encode_texts({"a", "bc"}, {});  // the same bytes, cut elsewhere
  open("other")->encode_texts({"ab", "c"}, {});
  EXPECT_EQ(calls, 4);
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
  for (const auto& entry : fs::directory_iterator(folder / "cache"))
    fs::resize_file(entry.path(), fs::file_size(entry.path()) - 4);
  EXPECT_THROW(open("m")->encode_texts({"a"}, {}), DataError);
}

TEST_F(CachedEncoderTest, AnEmptyFolderIsNoCache) {
  auto plain = cached_encoder(std::make_unique<Counting>(&calls), "m", "");
  plain->encode_texts({"a"}, {});
  plain->encode_texts({"a"}, {});
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace parapet

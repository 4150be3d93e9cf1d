// Ids and decoded texts of four small tokenizers and of CLIP, made by the reference with
// tools/goldens/make_tokenizer_goldens.py.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "parapet/core/json.h"
#include "parapet/core/threads.h"
#include "text/test_support.h"

namespace parapet {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

class TokenizerGolden : public testing::TestWithParam<const char*> {
 protected:
  std::shared_ptr<const Tokenizer> load() const {
    const std::string name = GetParam();
    return name == "clip" ? clip_tokenizer() : Tokenizer::load(golden_folder() / name);
  }
  json cases() const { return load_json(golden_folder() / GetParam() / "cases.json"); }
};

TEST_P(TokenizerGolden, IdsAndDecodedTextsEqualTheReference) {
  const auto tokenizer = load();
  for (const json& item : cases()) {
    const auto text = item["text"].get<std::string>();
    const auto ids = item["ids"].get<Ids>();
    EXPECT_EQ(tokenizer->encode(text), ids) << item["text"].dump();
    EXPECT_EQ(tokenizer->decode(ids, true), item["decoded"].get<std::string>())
        << item["text"].dump();
    EXPECT_EQ(tokenizer->decode(ids, false), item["decoded_special"].get<std::string>())
        << item["text"].dump();
  }
}

TEST_P(TokenizerGolden, ThreadsAgree) {
  const auto tokenizer = load();
  const json all = cases();
  std::atomic<int> wrong{0};
  parallel_items(2000, 4, [&](int64_t i) {
    const json& item = all[static_cast<size_t>(i * 7) % all.size()];
    if (tokenizer->encode(item["text"].get_ref<const std::string&>()) != item["ids"].get<Ids>())
      ++wrong;
  });
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(Families, TokenizerGolden,
                         testing::Values("clip", "gpt2", "qwen2", "llama", "llama_metaspace"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Tokenizer, MaxLengthKeepsTheSpecialTokens) {
  const auto& clip = *clip_tokenizer();
  EXPECT_EQ(clip.encode("a photo of a cat", {.max_length = 4}), (Ids{49406, 320, 1125, 49407}));
  EXPECT_EQ(clip.encode("a photo of a cat", {.max_length = 2}), (Ids{49406, 49407}));
  EXPECT_EQ(clip.encode("a photo", {.add_special_tokens = false, .max_length = 1}), (Ids{320}));
  EXPECT_THROW(clip.encode("a", {.max_length = 1}), UsageError);
}

TEST(Tokenizer, InvalidBytesBecomeReplacementCharacters) {
  const auto& clip = *clip_tokenizer();
  EXPECT_EQ(clip.encode("a\xff cat\xe2\x82"), clip.encode("a\uFFFD cat\uFFFD"));
  EXPECT_EQ(clip.encode("\xed\xa0\x80"), clip.encode("\uFFFD\uFFFD\uFFFD"));
  EXPECT_EQ(clip.encode("\xf0\x9f\x98x"), clip.encode("\uFFFDx"));
}

TEST(Tokenizer, OneHugeWordIsMergedInBoundedTime) {
  const auto& clip = *clip_tokenizer();
  // 1 MiB here keeps the test short; the merge is n log n, so ten times that is no surprise.
  const std::string word(1 << 20, 'a');
  const Ids ids = clip.encode(word, {.add_special_tokens = false});
  EXPECT_EQ(clip.decode(ids), word);
  EXPECT_THROW(clip.encode(std::string((size_t{32} << 20) + 1, 'a')), DataError);
}

}  // namespace
}  // namespace parapet

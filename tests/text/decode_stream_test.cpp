// Decoding id by id says what decoding at once says, in whole characters.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "parapet/core/json.h"
#include "parapet/core/random.h"
#include "parapet/core/utf8.h"
#include "text/test_support.h"

namespace parapet {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

struct Streamed {
  std::string before_end, all;
};

Streamed stream(const Tokenizer& tokenizer, const Ids& ids, bool skip_special) {
  const auto decoding = tokenizer.stream(skip_special);
  Streamed out;
  for (const int32_t id : ids) {
    const std::string piece = decoding->push(id);
    EXPECT_TRUE(is_valid_utf8(piece)) << id;
    out.before_end += piece;
  }
  out.all = out.before_end + decoding->finish();
  return out;
}

class DecodeStreams : public testing::TestWithParam<const char*> {
 protected:
  std::shared_ptr<const Tokenizer> load() const {
    const std::string name = GetParam();
    return name == "clip" ? clip_tokenizer() : Tokenizer::load(golden_folder() / name);
  }
};

TEST_P(DecodeStreams, TextsOfTheGoldens) {
  const auto tokenizer = load();
  for (const json& item : load_json(golden_folder() / GetParam() / "cases.json")) {
    const auto ids = item["ids"].get<Ids>();
    for (const bool skip : {true, false})
      EXPECT_EQ(stream(*tokenizer, ids, skip).all, tokenizer->decode(ids, skip))
          << item["text"].dump();
  }
}

// Ids that no text gives: cut characters, bytes in any order, specials in between.
TEST_P(DecodeStreams, AnyIdsAtAll) {
  const auto tokenizer = load();
  Random random(11);
  const auto size = static_cast<uint64_t>(tokenizer->vocab_size());
  for (int round = 0; round < 3000; ++round) {
    Ids ids;
    // The bytes come first in these vocabularies, so that many ids are single bytes.
    const uint64_t most = random.chance(0.7) ? std::min<uint64_t>(size, 300) : size + 5;
    for (uint64_t i = random.below(12); i > 0; --i)
      ids.push_back(static_cast<int32_t>(random.below(most)));
    for (const bool skip : {true, false})
      ASSERT_EQ(stream(*tokenizer, ids, skip).all, tokenizer->decode(ids, skip))
          << json(ids).dump();
  }
}

// Pieces that were given out stay true when any others follow.
TEST_P(DecodeStreams, NothingIsTakenBack) {
  const auto tokenizer = load();
  Random random(12);
  for (int round = 0; round < 300; ++round) {
    Ids ids;
    for (int i = 0; i < 10; ++i) ids.push_back(static_cast<int32_t>(random.below(300)));
    const std::string whole = tokenizer->decode(ids, false);
    for (size_t count = 0; count <= ids.size(); ++count) {
      const Ids front(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(count));
      ASSERT_TRUE(whole.starts_with(stream(*tokenizer, front, false).before_end))
          << json(ids).dump() << " after " << count;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, DecodeStreams,
                         testing::Values("clip", "gpt2", "qwen2", "llama", "llama_metaspace"),
                         [](const auto& info) { return std::string(info.param); });

TEST(DecodeStream, SaysAtOnceWhatIsComplete) {
  for (const char* family : {"gpt2", "llama"}) {
    const auto tokenizer = Tokenizer::load(golden_folder() / family);
    const Ids ids = tokenizer->encode("a cat sat here.", {.add_special_tokens = false});
    EXPECT_EQ(stream(*tokenizer, ids, true).before_end, "a cat sat here.") << family;
  }
}

TEST(DecodeStream, ACharacterComesWithItsLastByte) {
  const auto tokenizer = Tokenizer::load(golden_folder() / "gpt2");
  const Ids ids = tokenizer->encode("\U0001F999!", {.add_special_tokens = false});
  ASSERT_EQ(ids.size(), 5u);  // four bytes
  const auto decoding = tokenizer->stream();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(decoding->push(ids[static_cast<size_t>(i)]), "");
  EXPECT_EQ(decoding->push(ids[3]), "\U0001F999");
  EXPECT_EQ(decoding->push(ids[4]), "!");
  EXPECT_EQ(decoding->finish(), "");
  const auto cut = tokenizer->stream();
  cut->push(ids[0]);
  cut->push(ids[1]);
  EXPECT_EQ(cut->finish(), "\uFFFD");
}

TEST(Utf8, TheIncompleteTailIsWhatMoreBytesCanComplete) {
  const auto tail = [](std::string_view s) { return incomplete_utf8_tail(s); };
  EXPECT_EQ(tail(""), 0u);
  EXPECT_EQ(tail("a"), 0u);
  EXPECT_EQ(tail("\u20ac"), 0u);
  EXPECT_EQ(tail("a\xe2\x82"), 2u);
  EXPECT_EQ(tail("a\xe2"), 1u);
  EXPECT_EQ(tail("\xf0\x9f\xa6"), 3u);
  EXPECT_EQ(tail("\xff"), 0u);
  EXPECT_EQ(tail("\x80"), 0u);
  EXPECT_EQ(tail("\xe0\x80"), 0u);  // over-long: never a character
  EXPECT_EQ(tail("\xed\xa0"), 0u);  // a surrogate
  EXPECT_EQ(tail("\xf4\x90"), 0u);  // past the last character
  EXPECT_EQ(tail("\xc0"), 0u);
  EXPECT_EQ(tail("\xe2\x82\xac\x82"), 0u);
  // Whatever follows, the part before the tail is repaired alike.
  Random random(5);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    for (int i = 0; i < 6; ++i)
      bytes += static_cast<char>(random.chance(0.5) ? 0x80 + random.below(64) : random.below(256));
    const size_t cut = random.below(7);
    const std::string front = bytes.substr(0, cut);
    const size_t kept = cut - incomplete_utf8_tail(front);
    std::string whole, a, b;
    ASSERT_EQ(std::string(repair_utf8(bytes, whole)),
              std::string(repair_utf8(bytes.substr(0, kept), a)) +
                  std::string(repair_utf8(bytes.substr(kept), b)));
  }
}

}  // namespace
}  // namespace parapet

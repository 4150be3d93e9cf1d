// CLIP's tokenizer from its published vocabulary file, and the folder written for transformers.
#include "parapet/text/clip_vocabulary.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "text/test_support.h"

namespace parapet {
namespace {

using Ids = std::vector<int32_t>;

TEST(ClipTokenizer, EncodesACaption) {
  const auto& clip = *clip_tokenizer();
  EXPECT_EQ(clip.encode("a photo of a cat"), (Ids{49406, 320, 1125, 539, 320, 2368, 49407}));
  EXPECT_EQ(clip.encode("  A  PHOTO\tof a\ncat "), clip.encode("a photo of a cat"));
}

TEST(ClipTokenizer, KnowsItsNames) {
  const auto& clip = *clip_tokenizer();
  EXPECT_EQ(clip.vocab_size(), 49408);
  EXPECT_EQ(clip.bos_id(), 49406);
  EXPECT_EQ(clip.eos_id(), 49407);
  EXPECT_EQ(clip.pad_id(), 49407);
  EXPECT_EQ(clip.model_max_length(), 77);
  EXPECT_EQ(clip.token_id("cat</w>"), 2368);
  EXPECT_EQ(clip.token_id("no such token"), -1);
}

TEST(ClipTokenizer, WrittenFolderHoldsWhatTransformersWrites) {
  const test::TempFolder folder;
  write_clip_tokenizer(clip_vocabulary_file(), folder.path());
  nlohmann::json written = load_json(folder.path() / "tokenizer.json");
  EXPECT_EQ(written["model"]["vocab"].size(), 49408u);
  EXPECT_EQ(written["model"]["merges"].size(), 48894u);
  written["model"].erase("vocab");
  written["model"].erase("merges");
  EXPECT_EQ(written, load_json(golden_folder() / "clip/stages.json"));
}

TEST(ClipTokenizer, BothKindsOfFilesLoad) {
  const test::TempFolder folder;
  write_clip_tokenizer(clip_vocabulary_file(), folder.path(), 32);
  const std::string text = "It's 3 o'clock, <|startoftext|>ÀÉ 👍🏽!";
  const Ids expected = clip_tokenizer()->encode(text);
  const auto whole = Tokenizer::load(folder.path());
  EXPECT_EQ(whole->encode(text), expected);
  EXPECT_EQ(whole->model_max_length(), 32);
  EXPECT_EQ(Tokenizer::load(folder.path() / "vocab.json")->encode(text), expected);
  std::filesystem::remove(folder.path() / "tokenizer.json");
  EXPECT_EQ(Tokenizer::load(folder.path())->encode(text), expected);
}

TEST(ClipTokenizer, BadVocabularyFilesAreNamed) {
  const test::TempFolder folder;
  EXPECT_THROW(load_clip_tokenizer(folder.path() / "missing.gz"), DataError);
  const std::string whole = read_file(clip_vocabulary_file());
  write_file_atomic(folder.path() / "cut.gz", std::string_view(whole).substr(0, whole.size() / 2));
  EXPECT_THROW(load_clip_tokenizer(folder.path() / "cut.gz"), DataError);
  write_file_atomic(folder.path() / "text.gz", "not gzip");
  EXPECT_THROW(load_clip_tokenizer(folder.path() / "text.gz"), DataError);
}

}  // namespace
}  // namespace parapet

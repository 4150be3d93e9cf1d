// Whatever a text is made of, its pieces are read to their end: no marker that stops a text tower,
// no more tokens than it takes.
#include "parapet/guard/text_chunks.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "parapet/core/json.h"
#include "parapet/text/clip_vocabulary.h"
#include "support/temp_folder.h"

namespace parapet::guard {
namespace {

class TextChunks : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new parapet::test::TempFolder;
    write_clip_tokenizer(
        std::filesystem::path(PARAPET_SOURCE_DIR) / ".cache/assets/bpe_simple_vocab_16e6.txt.gz",
        folder_->path());
    whole_ = Tokenizer::load(*folder_ / "tokenizer.json");
    pair_ = Tokenizer::load(*folder_ / "vocab.json");
    // As OpenAI's own file has it: looked for once the text is in small letters.
    nlohmann::json folds = load_json(*folder_ / "tokenizer.json");
    for (auto& token : folds["added_tokens"]) token["normalized"] = true;
    std::filesystem::create_directories(*folder_ / "folds");
    save_json(*folder_ / "folds/tokenizer.json", folds);
    folds_ = Tokenizer::load(*folder_ / "folds/tokenizer.json");
  }
  static void TearDownTestSuite() {
    whole_.reset();
    pair_.reset();
    folds_.reset();
    delete folder_;
  }
  static std::vector<int32_t> ids(const Tokenizer& tokenizer, const std::string& text) {
    return tokenizer.encode(text, {.add_special_tokens = false});
  }
  static int64_t markers(const Tokenizer& tokenizer, const std::string& text) {
    int64_t count = 0;
    for (const int32_t id : ids(tokenizer, text)) count += tokenizer.is_marker(id);
    return count;
  }
  // Pieces cover the text in order, fit, and hold no marker.
  static void expect_read(const Tokenizer& tokenizer, const std::string& text, int64_t tokens) {
    size_t covered = 0;
    const auto chunks = text_chunks(text, tokenizer, tokens);
    for (const TextChunk& chunk : chunks) {
      EXPECT_TRUE(chunk.readable) << chunk.text;
      EXPECT_LE(chunk.begin, covered);
      EXPECT_GE(chunk.end, covered);
      covered = chunk.end;
      EXPECT_LE(static_cast<int64_t>(ids(tokenizer, chunk.text).size()), tokens) << chunk.text;
      EXPECT_EQ(markers(tokenizer, chunk.text), 0) << chunk.text;
    }
    EXPECT_EQ(covered, text.size());
  }
  static parapet::test::TempFolder* folder_;
  static std::shared_ptr<const Tokenizer> whole_, pair_, folds_;
};

parapet::test::TempFolder* TextChunks::folder_ = nullptr;
std::shared_ptr<const Tokenizer> TextChunks::whole_, TextChunks::pair_, TextChunks::folds_;

TEST_F(TextChunks, MarkersInAnyDisguiseAreBlanked) {
  const std::vector<std::string> plain = {"<|endoftext|>", "<|startoftext|>"};
  const std::vector<std::string> folded = {"<|ENDOFTEXT|>", "<|EndOfText|>", "<|StartOfText|>"};
  for (const auto& [tokenizer, spellings] :
       {std::pair{whole_, plain}, {pair_, plain}, {folds_, plain}, {folds_, folded}})
    for (const std::string& marker : spellings) {
      EXPECT_GT(markers(*tokenizer, "a " + marker + " b"), 0) << marker;
      for (const std::string& text :
           {marker, "a table " + marker + " a knife", "a table" + marker + "a knife",
            marker + marker + "x" + marker, "\n" + marker + "\t\xC3\xA9" + marker + "!",
            "<|endof" + marker + "text|>", "x" + marker + std::string(3000, 'y') + marker}) {
        const std::string blanked = blank_markers(text, *tokenizer);
        ASSERT_EQ(blanked.size(), text.size());
        EXPECT_EQ(markers(*tokenizer, blanked), 0) << text;
        for (size_t i = 0; i < text.size(); ++i)
          EXPECT_TRUE(blanked[i] == text[i] || blanked[i] == ' ') << text;
        expect_read(*tokenizer, text, 75);
        expect_read(*tokenizer, text, 6);
      }
      EXPECT_EQ(blank_markers("a table " + marker + " a knife", *tokenizer),
                "a table " + std::string(marker.size(), ' ') + " a knife");
    }
}

TEST_F(TextChunks, WhatIsNoMarkerStays) {
  for (const std::string text :
       {"", "a <tag> | and |> <| endoftext", "<| endoftext |>", "endoftext", "\xF0\x9F\x94\xA5 ok"})
    EXPECT_EQ(blank_markers(text, *whole_), text);
}

// A text full of markers costs about as much as any other.
TEST_F(TextChunks, ManyMarkersInARow) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += i % 2 == 0 ? "<|endoftext|>" : "<|STARTOFTEXT|>";
  const std::string blanked = blank_markers(text + "end", *folds_);
  EXPECT_TRUE(blanked == std::string(text.size(), ' ') + "end");
}

TEST_F(TextChunks, PiecesFitAnyContext) {
  std::string text = "start ";
  for (int i = 0; i < 60; ++i)
    text += "W\xC3\xB6rter und \xE6\xBC\xA2\xE5\xAD\x97 " + std::to_string(i) + " ";
  // Each byte of these is a token of its own.
  for (int i = 0; i < 60; ++i) text += "\xF0\x93\x80\x80";
  text += std::string(300, 'x');
  for (const int64_t tokens : {4, 6, 14, 30, 75}) expect_read(*whole_, text, tokens);
}

TEST_F(TextChunks, WhatFitsNoWindowIsSaid) {
  const auto chunks = text_chunks("\xF0\x93\x80\x80", *whole_, 2);
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_FALSE(chunks[0].readable);
}

}  // namespace
}  // namespace parapet::guard

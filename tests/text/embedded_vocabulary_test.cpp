// Tokenizers of lists as model files embed them. Real ones are compared with the references in
// tests/conformance/test_gguf_tokenizer.py.
#include "parapet/text/embedded_vocabulary.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/data_error.h"

namespace parapet {
namespace {

using Ids = std::vector<int32_t>;

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

EmbeddedVocabulary byte_level() {
  EmbeddedVocabulary from;
  from.model = "gpt2";
  from.pre_tokenizer = "gpt-2";
  from.tokens = {"<|end|>", "a", "b", "1", "\u0120", "ab", "\u01201", "<tool>", "\u0120\u0120"};
  from.types = {3, 1, 1, 1, 1, 1, 1, 4, 1};
  from.merges = {"a b", "\u0120 1", "\u0120 \u0120"};
  from.eos = 0;
  return from;
}

EmbeddedVocabulary sentence_piece() {
  EmbeddedVocabulary from;
  from.model = "llama";
  from.tokens = {"<unk>", "<s>", "</s>", "<0xC3>", "<0xA4>", "\u2581", "a", "b", "ab", "\u2581ab"};
  from.types = {2, 3, 3, 6, 6, 1, 1, 1, 1, 1};
  from.scores = {0, 0, 0, 0, 0, -3, -4, -5, -1, -2};
  from.unknown = 0;
  from.bos = 1;
  from.eos = 2;
  return from;
}

std::string error_of(const EmbeddedVocabulary& from) {
  const std::string text = data_error([&] { make_tokenizer(from, "m.gguf"); });
  if (!text.empty()) EXPECT_HAS(text, "m.gguf");
  return text;
}

TEST(EmbeddedVocabulary, ByteLevelMergesAndWholeTokens) {
  const auto tokenizer = make_tokenizer(byte_level(), "m.gguf");
  EXPECT_EQ(tokenizer->encode("ab<tool>ba<|end|>"), (Ids{5, 7, 2, 1, 0}));
  EXPECT_EQ(tokenizer->decode({5, 7, 0}, true), "ab<tool>");
  EXPECT_EQ(tokenizer->eos_id(), 0);
  EXPECT_EQ(tokenizer->bos_id(), -1);
  EXPECT_TRUE(tokenizer->is_marker(0));
}

TEST(EmbeddedVocabulary, TheKindSaysHowDigitsAndSpacesAreCut) {
  auto from = byte_level();
  EXPECT_EQ(make_tokenizer(from, "m")->encode("  1"), (Ids{4, 6}));
  from.pre_tokenizer = "smollm";
  EXPECT_EQ(make_tokenizer(from, "m")->encode("  1"), (Ids{8, 3}));
  from.pre_tokenizer = "";
  EXPECT_HAS(error_of(from), "does not say how text is cut");
  from.pre_tokenizer = "klingon";
  EXPECT_HAS(error_of(from), "the pre-tokenizer 'klingon' is not supported");
}

TEST(EmbeddedVocabulary, BeginAndEndOfTextAsTheFileSays) {
  auto from = sentence_piece();
  EXPECT_EQ(make_tokenizer(from, "m")->encode("ab"), (Ids{1, 9}));
  from.add_eos = true;
  EXPECT_EQ(make_tokenizer(from, "m")->encode("ab"), (Ids{1, 9, 2}));
  from.add_bos = false;
  EXPECT_EQ(make_tokenizer(from, "m")->encode("ab"), (Ids{9, 2}));
  from.bos.reset();
  from.add_bos = true;
  EXPECT_HAS(error_of(from), "texts are to have a bos token, but none is named");
  auto llama3 = byte_level();
  llama3.pre_tokenizer = "llama-bpe";
  llama3.bos = 0;
  EXPECT_EQ(make_tokenizer(llama3, "m")->encode("ab"), (Ids{0, 5}));
}

TEST(EmbeddedVocabulary, SentencePieceFallsBackToBytesAndKeepsSpaces) {
  auto from = sentence_piece();
  const auto tokenizer = make_tokenizer(from, "m");
  EXPECT_EQ(tokenizer->encode("ab\u00e4 b"), (Ids{1, 9, 3, 4, 5, 7}));
  EXPECT_EQ(tokenizer->decode({1, 9, 3, 4, 5, 7}), "ab\u00e4 b");
  EXPECT_EQ(tokenizer->encode("z", {.add_special_tokens = false}), (Ids{5, 0}));
  from.space_prefix = false;
  EXPECT_EQ(make_tokenizer(from, "m")->encode("ab"), (Ids{1, 8}));
  EXPECT_EQ(make_tokenizer(from, "m")->decode({9}), " ab");
}

TEST(EmbeddedVocabulary, MergesComeFromScores) {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  const auto from = sentence_piece();
  EXPECT_EQ(text::merges_from_scores(from.tokens, from.scores),
            (Pairs{{"a", "b"}, {"\u2581", "ab"}}));
  EXPECT_EQ(text::merges_from_scores({"a", "aa", "aaa"}, {0, 0, 5}),
            (Pairs{{"aa", "a"}, {"a", "aa"}, {"a", "a"}}));
}

TEST(EmbeddedVocabulary, RefusesListsThatDoNotFit) {
  const auto with = [](auto change) {
    auto from = byte_level();
    change(from);
    return error_of(from);
  };
  EXPECT_HAS(with([](auto& from) { from.tokens.clear(); }), "no tokens");
  EXPECT_HAS(with([](auto& from) { from.model = "bert"; }), "'bert' is not supported");
  EXPECT_HAS(with([](auto& from) { from.types.pop_back(); }), "9 tokens, but 8 token types");
  EXPECT_HAS(with([](auto& from) { from.scores = {1}; }), "but 1 scores");
  EXPECT_HAS(with([](auto& from) { from.tokens[5] = "a"; }), "token 5 is 'a', as token 1 is");
  EXPECT_HAS(with([](auto& from) { from.tokens[5] = "\xff"; }), "token 5 is not UTF-8");
  EXPECT_HAS(with([](auto& from) { from.tokens[5] = std::string(5000, 'a'); }), "5000 bytes long");
  EXPECT_HAS(with([](auto& from) { from.merges[1] = "\xff a"; }), "merge 1 is not UTF-8");
  EXPECT_HAS(with([](auto& from) { from.merges[1] = "a"; }), "merges[1]");
  EXPECT_HAS(with([](auto& from) { from.merges[1] = "a zz"; }), "token 'zz' is not in");
  EXPECT_HAS(with([](auto& from) { from.merges.clear(); }), "needs merges");
  EXPECT_HAS(with([](auto& from) { from.eos = 9; }), "the eos token's id is 9");
  EXPECT_HAS(with([](auto& from) { from.padding = -1; }), "the padding token's id is -1");
  auto unscored = sentence_piece();
  unscored.scores[3] = NAN;
  EXPECT_HAS(error_of(unscored), "the score of token 3 is no number");
  unscored.scores.clear();
  EXPECT_HAS(error_of(unscored), "needs scores or merges");
}

}  // namespace
}  // namespace parapet

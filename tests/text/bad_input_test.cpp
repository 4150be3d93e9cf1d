// Malformed tokenizer files: each error names the field at fault.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "text/test_support.h"

namespace parapet {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json small() {
  return json::parse(R"({"added_tokens": [], "normalizer": null, "pre_tokenizer": null,
    "post_processor": null, "decoder": null,
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})");
}

// The message of the DataError that loading `text` gives; empty when it loads.
std::string problem(const std::string& text) {
  const test::TempFolder folder;
  write_file_atomic(folder.path() / "tokenizer.json", text);
  try {
    Tokenizer::load(folder.path());
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("tokenizer.json"));
    return error.what();
  }
  return "";
}

// The same after one field was replaced.
std::string problem_with(const char* pointer, const json& value) {
  json root = small();
  root[json::json_pointer(pointer)] = value;
  return problem(root.dump());
}

TEST(TokenizerFiles, TheSmallOneLoads) {
  EXPECT_EQ(problem(small().dump()), "");
  // Other ways to write the same: merges as pairs, no type.
  EXPECT_EQ(problem_with("/model/merges", json::parse(R"([["a", "b"]])")), "");
}

TEST(TokenizerFiles, MalformedJson) {
  EXPECT_THAT(problem("{\"model\": "), HasSubstr("not valid JSON"));
  EXPECT_THAT(problem(""), HasSubstr("not valid JSON"));
  EXPECT_THAT(problem("[]"), HasSubstr("must be a JSON object"));
}

TEST(TokenizerFiles, MissingFiles) {
  const test::TempFolder folder;
  EXPECT_THROW(Tokenizer::load(folder.path() / "nowhere"), DataError);
  EXPECT_THROW(Tokenizer::load(folder.path()), DataError);
  write_file_atomic(folder.path() / "vocab.json", "{\"a\": 0}");
  EXPECT_THROW(Tokenizer::load(folder.path()), DataError);
}

TEST(TokenizerFiles, MissingOrOtherModel) {
  EXPECT_THAT(problem("{}"), HasSubstr("'model'"));
  EXPECT_THAT(problem_with("/model", "BPE"), HasSubstr("'model'"));
  EXPECT_THAT(problem_with("/model/type", "Unigram"), HasSubstr("'Unigram' is not supported"));
  EXPECT_THAT(problem_with("/model/dropout", 0.1), HasSubstr("dropout"));
}

TEST(TokenizerFiles, UnknownStages) {
  const json other = {{"type", "Mystery"}};
  EXPECT_THAT(problem_with("/normalizer", other), HasSubstr("normalizer 'Mystery'"));
  EXPECT_THAT(problem_with("/pre_tokenizer", other), HasSubstr("pre_tokenizer 'Mystery'"));
  EXPECT_THAT(problem_with("/post_processor", other), HasSubstr("post_processor 'Mystery'"));
  EXPECT_THAT(problem_with("/decoder", other), HasSubstr("decoder 'Mystery'"));
  EXPECT_THAT(problem_with("/normalizer", "NFC"), HasSubstr("object"));
}

TEST(TokenizerFiles, BadVocabulary) {
  EXPECT_THAT(problem_with("/model/vocab", {{"a", 0}, {"b", 0}}), HasSubstr("same id 0"));
  EXPECT_THAT(problem_with("/model/vocab", {{"a", "x"}}), HasSubstr("id of token 'a'"));
  EXPECT_THAT(problem_with("/model/vocab", {{"a", -1}}), HasSubstr("id of token 'a'"));
  EXPECT_THAT(problem_with("/model/vocab", {{"a", 4'000'000'000}}), HasSubstr("id of token 'a'"));
  EXPECT_THAT(problem_with("/model/vocab", json::array()), HasSubstr("'vocab'"));
  EXPECT_THAT(problem_with("/model/unk_token", "<unk>"), HasSubstr("unk_token '<unk>'"));
}

TEST(TokenizerFiles, BadMerges) {
  EXPECT_THAT(problem_with("/model/merges", {"a c"}), HasSubstr("merges[0]: token 'c'"));
  EXPECT_THAT(problem_with("/model/merges", {"a b", "b a"}), HasSubstr("merges[1]: token 'ba'"));
  EXPECT_THAT(problem_with("/model/merges", {"ab"}), HasSubstr("merges[0]"));
  EXPECT_THAT(problem_with("/model/merges", {7}), HasSubstr("merges[0]"));
}

TEST(TokenizerFiles, BadPatterns) {
  const auto split = [](const char* regex) {
    return json{{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}};
  };
  EXPECT_THAT(problem_with("/pre_tokenizer", split("(a")), HasSubstr("regex '(a'"));
  EXPECT_THAT(problem_with("/pre_tokenizer", split("[a")), HasSubstr("not closed"));
  EXPECT_THAT(problem_with("/pre_tokenizer", split("a\\")), HasSubstr("backslash"));
  EXPECT_THAT(problem_with("/pre_tokenizer", split("[a-z&&[^b]]")), HasSubstr("&&"));
  EXPECT_THAT(problem_with("/pre_tokenizer", split("[a[b]]")), HasSubstr("nested"));
  json behavior = split("a");
  behavior["behavior"] = "Sideways";
  EXPECT_THAT(problem_with("/pre_tokenizer", behavior), HasSubstr("'Sideways'"));
}

TEST(TokenizerFiles, BadAddedTokens) {
  const auto token = [](int64_t id, const char* content) {
    return json{{"id", id}, {"content", content}, {"special", true}};
  };
  EXPECT_THAT(problem_with("/added_tokens", json::array({token(1, "a")})),
              HasSubstr("added_tokens[0]"));
  EXPECT_THAT(problem_with("/added_tokens", {token(3, "x"), token(3, "y")}),
              HasSubstr("added_tokens[1]: id 3"));
  EXPECT_THAT(problem_with("/added_tokens", json::array({{{"id", 3}}})), HasSubstr("'content'"));
}

TEST(TokenizerFiles, BadTemplates) {
  const json no_text = {{"type", "TemplateProcessing"},
                        {"single", json::array()},
                        {"special_tokens", json::object()}};
  EXPECT_THAT(problem_with("/post_processor", no_text), HasSubstr("without the text"));
  json unknown = no_text;
  unknown["single"] = {{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}};
  EXPECT_THAT(problem_with("/post_processor", unknown), HasSubstr("'<s>' is not declared"));
}

TEST(TokenizerFiles, MergesFileNamesTheLine) {
  const test::TempFolder folder;
  write_file_atomic(folder.path() / "vocab.json", R"({"a": 0, "b": 1})");
  write_file_atomic(folder.path() / "merges.txt", "#version: 0.2\na b c\n");
  try {
    Tokenizer::load(folder.path());
    FAIL() << "loaded";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("merges.txt:2"));
  }
}

}  // namespace
}  // namespace parapet

#include "parapet/core/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

struct Sample {
  bool fast = false;
  int64_t batch_size = 32;
  double lr = 1e-3;
  std::string mode = "soft";
  std::vector<std::string> targets = {"q_proj", "v_proj"};
  std::vector<double> weights = {0.1, 0.2};
  OptionList list() {
    OptionList list;
    list.add("fast", fast, "skip checks");
    list.add("batch-size", batch_size, "pairs per step");
    list.add("lr", lr, "peak learning rate");
    list.add("mode", mode, "kind of\nmargin", {"soft", "hard"});
    list.add("targets", targets, "layers");
    list.add("weights", weights, "of the terms");
    return list;
  }
};

template <class F>
std::string usage_message(F&& call) {
  try {
    call();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no UsageError";
}

TEST(Options, TomlSetsEveryTypeAndTakesUnderscores) {
  Sample sample;
  const auto set = load_toml_text(sample.list(), R"(
fast = true
batch_size = 8
lr = 1
mode = "hard"
targets = []
weights = [1, 2.5]
)",
                                  "r.toml");
  EXPECT_THAT(set, UnorderedElementsAre("fast", "batch-size", "lr", "mode", "targets", "weights"));
  EXPECT_TRUE(sample.fast);
  EXPECT_EQ(sample.batch_size, 8);
  EXPECT_EQ(sample.lr, 1.0);
  EXPECT_EQ(sample.mode, "hard");
  EXPECT_TRUE(sample.targets.empty());
  EXPECT_THAT(sample.weights, ElementsAre(1.0, 2.5));
}

TEST(Options, TomlReportsAllProblemsAtOnceInLineOrder) {
  Sample sample;
  const std::string text = "lrr = 1.0\nbatch-size = 2.5\nmode = 'firm'\nfast = 1\nzzzzzz = 0\n";
  const std::string message = usage_message([&] { load_toml_text(sample.list(), text, "r.toml"); });
  EXPECT_THAT(message, HasSubstr("5 problems"));
  EXPECT_THAT(message, HasSubstr("r.toml:1: unknown option 'lrr', did you mean 'lr'?"));
  EXPECT_THAT(message, HasSubstr("r.toml:2: 'batch-size' must be an integer"));
  EXPECT_THAT(message, HasSubstr("r.toml:3: --mode: 'firm' is not one of soft, hard"));
  EXPECT_THAT(message, HasSubstr("r.toml:4: 'fast' must be true or false"));
  EXPECT_THAT(message, HasSubstr("r.toml:5: unknown option 'zzzzzz'"));
  EXPECT_LT(message.find("r.toml:1"), message.find("r.toml:2"));
  EXPECT_LT(message.find("r.toml:3"), message.find("r.toml:4"));
}

TEST(Options, TomlRejectsBothSpellingsOfOneName) {
  Sample sample;
  EXPECT_THAT(usage_message([&] {
                load_toml_text(sample.list(), "batch-size = 1\nbatch_size = 2\n", "r.toml");
              }),
              HasSubstr("'batch-size' is given twice"));
}

TEST(Options, WhatTheTomlParserDoesNotSurviveIsRefusedBefore) {
  Sample sample;
  const auto message = [&](const std::string& text) {
    return usage_message([&] { load_toml_text(sample.list(), text, "r.toml"); });
  };
  EXPECT_THAT(message("# größe\ngröße = 1\n"), HasSubstr("recipe: r.toml:2: not valid TOML"));
  std::string dotted = "a";
  for (int i = 0; i < 100'000; ++i) dotted += ".a";
  EXPECT_THAT(message(dotted + " = 1"), HasSubstr("dots in a row"));
  const std::string leader(200, '.');
  load_toml_text(sample.list(), "# " + leader + "\ntargets = [\"" + leader + "\"]\n", "r.toml");
}

TEST(Options, TomlSyntaxErrorNamesFileAndLine) {
  Sample sample;
  EXPECT_THAT(
      usage_message([&] { load_toml_text(sample.list(), "fast = true\nlr = \n", "r.toml"); }),
      HasSubstr("r.toml:2"));
}

TEST(Options, MissingRecipeIsAUsageError) {
  Sample sample;
  EXPECT_THAT(usage_message([&] { load_toml(sample.list(), "/nonexistent/r.toml"); }),
              AllOf(HasSubstr("/nonexistent/r.toml"), HasSubstr("No such file")));
}

TEST(Options, PrintedRecipeLoadsBackExactly) {
  Sample before;
  before.fast = true;
  before.batch_size = std::numeric_limits<int64_t>::min();
  before.lr = 1.0 / 3;
  before.mode = "hard";
  before.targets = {
      "it's \"quoted\"", "tab\tline\nend", "\\d+", "\xC3\xA9\xF0\x9F\x98\x80", "", "a,b",
      "bell\x07"};
  before.weights = {5e-324, 1.7976931348623157e308, -0.0, 1e-5, 123456789.123456789};
  test::TempFolder folder;
  const auto file = folder / "config.toml";
  write_file_atomic(file, to_toml(before.list()));
  Sample after;
  EXPECT_EQ(load_toml(after.list(), file).size(), 6u);
  EXPECT_EQ(to_json(after.list()), to_json(before.list()));
  EXPECT_EQ(after.lr, before.lr);
  EXPECT_EQ(after.weights, before.weights);
  EXPECT_EQ(after.targets, before.targets);
  EXPECT_EQ(after.batch_size, before.batch_size);
}

TEST(Options, PrintedRecipeLeavesOutWhatWasNotGiven) {
  std::string model, kind, note;
  OptionList list;
  list.require("model", model, "checkpoint");
  list.add("kind", kind, "which", {"a", "b"});
  list.add("note", note, "free text");
  const std::string text = to_toml(list);
  EXPECT_THAT(text,
              AllOf(HasSubstr("\n# model = "), HasSubstr("\n# kind = "), HasSubstr("\nnote = ")));
  EXPECT_THAT(load_toml_text(list, text, "r.toml"), ElementsAre("note"));
}

TEST(Options, FlagsParseStrictly) {
  Sample sample;
  const OptionList list = sample.list();
  set_option(*list.find("batch_size"), "-3");
  EXPECT_EQ(sample.batch_size, -3);
  set_option(*list.find("weights"), "1e-2,3");
  EXPECT_THAT(sample.weights, ElementsAre(1e-2, 3.0));
  set_option(*list.find("targets"), "a,,b");
  EXPECT_THAT(sample.targets, ElementsAre("a", "b"));
  for (const auto& [name, text] :
       std::vector<std::pair<std::string, std::string>>{{"batch-size", "3x"},
                                                        {"batch-size", "9223372036854775808"},
                                                        {"batch-size", ""},
                                                        {"lr", "fast"},
                                                        {"lr", "nan"},
                                                        {"lr", "1e999"},
                                                        {"fast", "yes"},
                                                        {"mode", "Soft"},
                                                        {"weights", "1,x"}})
    EXPECT_THAT(
        usage_message([&, &name = name, &text = text] { set_option(*list.find(name), text); }),
        HasSubstr("--" + name))
        << text;
  // A refused list leaves the old one.
  EXPECT_THAT(sample.weights, ElementsAre(1e-2, 3.0));
}

TEST(Problems, OneAndMany) {
  Problems problems;
  EXPECT_TRUE(problems.empty());
  problems.throw_if_any("x");
  problems.require(false, "lr", "must be > 0");
  problems.require(true, "batch", "never");
  EXPECT_EQ(usage_message([&] { problems.throw_if_any("cmd"); }), "cmd: lr: must be > 0");
  problems.add("whole line");
  EXPECT_EQ(usage_message([&] { problems.throw_if_any("cmd"); }),
            "cmd: 2 problems\n  lr: must be > 0\n  whole line");
}

}  // namespace
}  // namespace parapet

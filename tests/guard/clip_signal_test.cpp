// The CLIP signal on a small random CLIP: what it scores must follow from its embeddings.
#include "parapet/guard/clip_signal.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "guard/guard_fixture.h"
#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/guard/guard.h"
#include "parapet/guard/text_chunks.h"
#include "support/small_models.h"
#include "support/temp_folder.h"

namespace parapet::guard {
namespace {

class ClipGuard : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new parapet::test::TempFolder;
    parapet::test::write_small_clip(*folder_ / "clip");
    std::filesystem::remove(*folder_ / "clip/tokenizer.json");  // vocab.json reads faster
    GuardHeadsInfo info;
    info.categories = {"weapon", "fire"};
    info.model_hash = parapet::test::model_key(*folder_ / "clip");
    info.embedding = "original";
    for (int i = 0; i <= 100; ++i) info.cosine_quantiles.push_back(-1 + 0.02 * i);
    // Every score lies above the first two and below the third.
    for (const char* name : {"image.weapon", "text.weapon", "joint.weapon", "image.harm",
                             "text.harm", "joint.harm", "contradiction"})
      info.thresholds[name] = {.fpr1 = 2e-9,
                               .recall95 = 1e-9,
                               .review_low = std::nan(""),
                               .review_high = std::nan(""),
                               .best_f1 = 1.5};
    parapet::test::write_small_heads(*folder_ / "heads", info, 48, 16, 7);
    std::filesystem::copy(std::filesystem::path(PARAPET_SOURCE_DIR) / "policies/taxonomy.toml",
                          *folder_ / "taxonomy.toml");
    const auto pictures = parapet::test::write_small_pictures(folder_->path(), 6);
    std::filesystem::create_directories(*folder_ / "gallery");
    std::ofstream gallery(*folder_ / "gallery/captions.jsonl");
    for (int i = 0; i < 3; ++i) {
      const std::string name = "picture" + std::to_string(i) + ".png";
      std::filesystem::copy(*folder_ / name, *folder_ / "gallery" / name);
      gallery << R"({"id":"g)" << i << R"(","text":"safe caption )" << i << R"(","image":")" << name
              << R"(","split":"test"})"
              << "\n";
    }
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  // The torch backend: nothing to compile.
  static Policy parse(const std::string& rest, const std::string& backend = "torch") {
    return Policy::parse(
        "[clip]\nmodel='clip'\nprecision='fp32'\nbackend='" + backend + "'\n" + rest, "p.toml",
        folder_->path());
  }
  static std::string picture(int i) {
    return read_file(*folder_ / ("picture" + std::to_string(i) + ".png"));
  }
  static const Score* find(const Decision& decision, const std::string& signal,
                           const std::string& category, Modality modality) {
    for (const Score& score : decision.scores)
      if (score.signal == signal && score.category == category && score.modality == modality)
        return &score;
    return nullptr;
  }
  static parapet::test::TempFolder* folder_;
};

parapet::test::TempFolder* ClipGuard::folder_ = nullptr;

TEST_F(ClipGuard, HeadsScoreImagesTextsAndPairs) {
  const Guard guard(parse("heads='heads'\n[consistency]\n[category.weapon]\n", "auto"), {},
                    Context{});
  EXPECT_TRUE(guard.readiness().ready);
  const Decision decision =
      guard.check({.parts = {Part::text("a red boat"), Part::image(picture(0))}});
  EXPECT_TRUE(decision.not_scanned.empty());
  const GuardHeads heads = GuardHeads::load(*folder_ / "heads");
  const auto embeddings = parapet::test::embed(*folder_ / "clip", "openvino", {"a red boat"},
                                               {(*folder_ / "picture0.png").string()});
  const GuardScores scores = heads.score(embeddings.images[0], embeddings.texts[0]);
  const auto expect = [&](Modality modality, const char* category, double value) {
    const Score* score = find(decision, "clip.heads", category, modality);
    ASSERT_NE(score, nullptr) << category;
    EXPECT_NEAR(score->value, value, 2e-3) << category;
  };
  expect(Modality::kText, "weapon", scores.text().categories[0]);
  expect(Modality::kImage, "fire", scores.image().categories[1]);
  expect(Modality::kImage, "any_harm", scores.image().harm);
  expect(Modality::kJoint, "weapon", scores.joint().categories[0]);
  expect(Modality::kJoint, "contradiction", scores.contradiction);
  const Score* agreement = find(decision, "clip.consistency", "contradiction", Modality::kJoint);
  ASSERT_NE(agreement, nullptr);
  EXPECT_NEAR(agreement->value, 1 - (scores.cosine + 1) / 2, 0.02);
}

TEST_F(ClipGuard, DecidesByThresholdsOfTheHeadsAndShowsThem) {
  const Guard guard(parse("heads='heads'\n[defaults]\nflag='recall95'\nblock='best_f1'\n"
                          "[category.weapon]\n[category.any_harm]\nblock='fpr1'\n"),
                    {}, Context{});
  const Decision decision = guard.check({.parts = {Part::text("a red boat")}});
  EXPECT_EQ(decision.action, Action::kBlock);
  for (const CategoryResult& category : decision.categories) {
    const bool all = category.category == "any_harm";
    if (!all && category.category != "weapon") continue;
    EXPECT_EQ(category.flag_at, 1e-9);
    EXPECT_EQ(category.block_at, all ? 2e-9 : 1.5);
    EXPECT_EQ(category.flag_from, "recall95");
    EXPECT_EQ(category.block_from, all ? "fpr1" : "best_f1");
    EXPECT_EQ(category.action, all ? Action::kBlock : Action::kFlag);
  }
  EXPECT_NE(decision.reason.find("(block at fpr1, 0.000)"), std::string::npos) << decision.reason;
  const std::string json = to_json(decision).dump();
  EXPECT_NE(json.find("\"flag_from\":\"recall95\""), std::string::npos);
  EXPECT_NE(json.find("\"block_from\":\"best_f1\""), std::string::npos);
}

// A threshold of the heads means nothing for the scores of anything else.
TEST_F(ClipGuard, RefusesNamedThresholdsForScoresOfAnotherScale) {
  const auto refusal = [&](const std::string& toml, GuardOptions options = {}) -> std::string {
    try {
      const Guard guard(parse("heads='heads'\nneutral=['a tree']\n" + toml), options, Context{});
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  const std::string named = "[category.contradiction]\nflag='fpr1'\n[category.weapon]\nflag=";
  EXPECT_NE(refusal("[consistency]\n" + named + "0.5\n").find("category 'contradiction'"),
            std::string::npos);
  EXPECT_EQ(refusal("[consistency]\ncategory='disagreement'\n" + named + "0.5\n"), "");
  const std::string zeroshot = "[[clip.zeroshot]]\ncategory='weapon'\nprompts=['a sword']\n";
  EXPECT_NE(refusal(zeroshot + named + "'fpr1'\n").find("but clip scores it too"),
            std::string::npos);
  EXPECT_EQ(refusal(zeroshot + named + "0.5\n"), "");
  const auto signal = std::make_shared<test::FakeSignal>();
  signal->text_scores = {{"weapon", 0.5}};
  EXPECT_NE(refusal(named + "'fpr1'\n", {.signals = {signal}}).find("but fake scores it too"),
            std::string::npos);
}

// Prompts and examples stand for all they say: what the model would cut off is not left out
// silently.
TEST_F(ClipGuard, RefusesPromptsThatTheModelDoesNotReadToTheirEnd) {
  const auto refusal = [&](const std::string& neutral, const std::string& prompt) -> std::string {
    try {
      const Guard guard(parse("neutral=['" + neutral +
                              "']\n[[clip.zeroshot]]\ncategory='fire'\n"
                              "prompts=['a flame', '" +
                              prompt + "']\n[category.fire]\nflag=0.5\n"),
                        {}, Context{});
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  const auto words = [](int count) {
    std::string text = "boat";
    for (int i = 1; i < count; ++i) text += " boat";
    return text;
  };
  EXPECT_EQ(refusal("a tree", words(75)), "");
  for (const std::string& said : {refusal("a tree", words(76)), refusal(words(76), "fire")})
    for (const char* part : {"'fire'", "boat boat", "has 76 tokens", "reads 75"})
      EXPECT_NE(said.find(part), std::string::npos) << part << ": " << said;
}

TEST_F(ClipGuard, CategoriesFromSentencesAndExamples) {
  const Guard guard(parse(R"(neutral=["a photo of a tree"]
[[clip.zeroshot]]
category="fire"
prompts=["a red boat near water"]
[[clip.zeroshot]]
category="hazard"
images=["picture1.png","picture2.png"]
benign_images=["picture3.png","picture4.png"]
[category.fire]
flag=0.5
)"),
                    {}, Context{});
  const auto score = [&](const std::string& text) {
    return find(guard.check({.parts = {Part::text(text)}}), "clip.zeroshot", "fire",
                Modality::kText)
        ->value;
  };
  EXPECT_GT(score("a red boat near water"), 0.5);
  EXPECT_LT(score("a photo of a tree"), 0.5);
  const auto harmful = guard.check({.parts = {Part::image(picture(1))}});
  const auto benign = guard.check({.parts = {Part::image(picture(3))}});
  EXPECT_GT(find(harmful, "clip.fewshot", "hazard", Modality::kImage)->value,
            find(benign, "clip.fewshot", "hazard", Modality::kImage)->value);
}

TEST_F(ClipGuard, RefusesHeadsOfAnotherModelAndUnknownCategories) {
  GuardHeadsInfo info;
  info.categories = {"weapon"};
  info.model_hash = "another";
  parapet::test::write_small_heads(*folder_ / "other_heads", info, 48, 0, 7);
  EXPECT_THROW(Guard(parse("heads='other_heads'\n"), {}, Context{}), DataError);
  info.model_hash = parapet::test::model_key(*folder_ / "clip");
  info.categories = {"not_in_the_taxonomy"};
  parapet::test::write_small_heads(*folder_ / "odd_heads", info, 48, 0, 7);
  EXPECT_THROW(Guard(parse("heads='odd_heads'\n"), {}, Context{}), UsageError);
}

TEST_F(ClipGuard, RefusesHeadsReplacedSinceThePolicyWasRead) {
  GuardHeadsInfo info;
  info.categories = {"weapon"};
  info.model_hash = parapet::test::model_key(*folder_ / "clip");
  parapet::test::write_small_heads(*folder_ / "new_heads", info, 48, 0, 7);
  Policy policy = parse("heads='new_heads'\n");
  parapet::test::write_small_heads(*folder_ / "new_heads", info, 48, 0, 8);
  EXPECT_THROW(Guard(std::move(policy), {}, Context{}), DataError);
  const Guard guard(parse("heads='new_heads'\n"), {}, Context{});
}

// The end of a long text is scored, and a text over the limit says so.
TEST_F(ClipGuard, LongTextsAreReadToTheirEnd) {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "tree ";
  const std::string whole = text + "a red boat near water";
  // The category is what the last piece says, its opposite what the first one does.
  const auto chunks = text_chunks(whole, *Tokenizer::load(*folder_ / "clip"), 75);
  const std::string zeroshot = "neutral=['" + chunks.front().text +
                               "']\n[[clip.zeroshot]]\ncategory='fire'\nprompts=['" +
                               chunks.back().text + "']\n[category.fire]\n";
  const Guard guard(parse(zeroshot), {}, Context{});
  const auto plain = guard.check({.parts = {Part::text(text)}});
  const auto ending = guard.check({.parts = {Part::text(whole)}});
  EXPECT_TRUE(ending.complete);
  EXPECT_LT(find(plain, "clip.zeroshot", "fire", Modality::kText)->value, 0.5);
  EXPECT_GT(find(ending, "clip.zeroshot", "fire", Modality::kText)->value, 0.5);
  // The words that an explanation weighs are those of the piece that decided.
  const Guard flags(parse(zeroshot + "flag=0.5\n"), {}, Context{});
  const auto explained = flags.check({.parts = {Part::text(whole)}, .explain = true});
  ASSERT_EQ(explained.explanations.size(), 1u);
  EXPECT_EQ(explained.explanations[0].words.back().first, "water");
  const Guard small(parse("max_text_chunks=2\n" + zeroshot), {}, Context{});
  const auto decision = small.check({.parts = {Part::text(text)}});
  EXPECT_EQ(decision.not_scanned.at(0).reason, "text_too_long");
  EXPECT_EQ(decision.action, Action::kBlock);
  EXPECT_EQ(decision.parts[0].state, ScanState::kPartly);
}

// A text tower pools at the first end of text, so that what stands behind one in a user's text
// would not be read.
TEST_F(ClipGuard, TextBehindAMarkerIsScored) {
  const std::string zeroshot =
      "neutral=['a table']\n[[clip.zeroshot]]\ncategory='fire'\nprompts=['a red boat near "
      "water']\n[category.fire]\n";
  for (const char* backend : {"torch", "openvino"}) {
    const Guard guard(parse(zeroshot, backend), {}, Context{});
    const auto score = [&](const std::string& text) {
      const Decision decision = guard.check({.parts = {Part::text(text)}});
      EXPECT_TRUE(decision.complete);
      return find(decision, "clip.zeroshot", "fire", Modality::kText)->value;
    };
    const double whole = score("a table a red boat near water");
    EXPECT_NE(whole, score("a table"));
    for (const std::string marker : {"<|endoftext|>", "<|startoftext|><|endoftext|>"})
      for (const std::string blank : {"", " "})
        EXPECT_NEAR(score("a table" + blank + marker + blank + "a red boat near water"), whole,
                    1e-4)
            << backend << marker;
  }
}

// Where a model reads less than CLIP usually does, so do the pieces.
TEST_F(ClipGuard, TheModelsOwnContextCutsTheText) {
  parapet::test::write_small_clip(*folder_ / "short", {.positions = 12});
  std::string text;
  for (int i = 0; i < 30; ++i) text += "tree ";
  const std::string whole = text + "a red boat near water";
  const auto chunks = text_chunks(whole, *Tokenizer::load(*folder_ / "short"), 10);
  ASSERT_GT(chunks.size(), 3u);
  const Guard guard(
      Policy::parse("[clip]\nmodel='short'\nprecision='fp32'\nbackend='torch'\nneutral=['" +
                        chunks.front().text + "']\n[[clip.zeroshot]]\ncategory='fire'\nprompts=['" +
                        chunks.back().text + "']\n[category.fire]\n",
                    "p.toml", folder_->path()),
      {}, Context{});
  const auto score = [&](const std::string& words) {
    const Decision decision = guard.check({.parts = {Part::text(words)}});
    EXPECT_TRUE(decision.complete);
    return find(decision, "clip.zeroshot", "fire", Modality::kText)->value;
  };
  EXPECT_LT(score(text), 0.5);
  EXPECT_GT(score(whole), 0.5);
}

// Over the number of pieces the newest are scored, and the first.
TEST_F(ClipGuard, TheEndOfATextPastAllPiecesIsScored) {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "tree ";
  text += "a red boat near water";
  const auto chunks = text_chunks(text, *Tokenizer::load(*folder_ / "clip"), 75);
  const std::string zeroshot = "max_text_chunks=4\nneutral=['" + chunks[5].text +
                               "']\n[[clip.zeroshot]]\ncategory='fire'\nprompts=['" +
                               chunks.back().text + "']\n[category.fire]\n";
  const Guard guard(parse(zeroshot), {}, Context{});
  const Decision decision = guard.check({.parts = {Part::text(text)}});
  EXPECT_GT(find(decision, "clip.zeroshot", "fire", Modality::kText)->value, 0.5);
  EXPECT_EQ(decision.not_scanned.at(0).reason, "text_too_long");
  EXPECT_EQ(decision.parts[0].state, ScanState::kPartly);
}

// Readiness asks the encoder, not its cache, and does not wait for ever.
TEST_F(ClipGuard, ReadinessFollowsTheEncoder) {
  const auto faults = std::make_shared<parapet::test::Faults>();
  const auto encoder = parapet::test::faulty_encoder(*folder_ / "clip", faults);
  const auto signal = ClipSignal::load(
      parse("neutral=['a tree']\n[[clip.zeroshot]]\ncategory='fire'\nprompts=['a boat']\n"),
      encoder, Context{});
  const auto soon = [] { return Clock::now() + std::chrono::seconds(20); };
  signal->probe(soon());
  signal->probe(soon());
  EXPECT_GE(faults->images, 2);
  faults->fail = true;
  EXPECT_THROW(signal->probe(soon()), Error);
  faults->fail = false;
  signal->probe(soon());
  faults->hang();
  EXPECT_THROW(signal->probe(Clock::now() + std::chrono::milliseconds(50)), Error);
  faults->release();
  signal->probe(soon());
}

// Whatever the encoder could not embed, a category has then no score: for an explanation asks again
// for what the decision was made from, and a full queue or a late answer may take it away.
TEST_F(ClipGuard, WhatIsMissingForAnExplanationGivesNoScore) {
  const auto faults = std::make_shared<parapet::test::Faults>();
  const auto encoder = parapet::test::faulty_encoder(*folder_ / "clip", faults);
  GuardHeadsInfo info;
  info.categories = {"weapon"};
  info.model_hash = encoder->model_key;
  for (int i = 0; i <= 20; ++i) info.cosine_quantiles.push_back(-1 + 0.1 * i);
  parapet::test::write_small_heads(*folder_ / "faulty_heads", info, 4, 0, 7);
  const auto signal =
      ClipSignal::load(parse("heads='faulty_heads'\nneutral=['a tree']\n[consistency]\n"
                             "[[clip.zeroshot]]\ncategory='weapon'\nprompts=['a boat']\n"),
                       encoder, Context{});
  const std::vector<Image> pictures{decode_image(picture(0), "png")};
  const std::vector<std::string> texts{"a boat"};
  const Embedding other = signal->embed_text("a table");
  ASSERT_EQ(other.size(), 4u);
  for (const std::string category : {"weapon", "any_harm", "contradiction"}) {
    EXPECT_EQ(signal->rescore_images(pictures, category, Modality::kJoint, other).size(), 1u);
    EXPECT_EQ(signal->rescore_texts(texts, category, Modality::kJoint, other).size(), 1u);
    EXPECT_TRUE(signal->rescore_images(pictures, category, Modality::kJoint, {}).empty());
    EXPECT_TRUE(signal->rescore_texts(texts, category, Modality::kJoint, {}).empty());
    EXPECT_EQ(signal->deciding_piece("a boat", category, Modality::kJoint, {}), "a boat");
  }
  faults->fail = true;
  EXPECT_TRUE(signal->embed_image(decode_image(picture(1), "png")).empty());
  EXPECT_TRUE(signal->embed_text("not seen before").empty());
  for (const Modality modality : {Modality::kText, Modality::kJoint})
    EXPECT_TRUE(signal->rescore_texts({"nor this"}, "weapon", modality, other).empty());
}

TEST_F(ClipGuard, ReplacesBySafeCounterpartsAndRedirects) {
  const std::string modify =
      "hardened='clip'\nheads='heads'\n[category.any_harm]\nflag=0.0\nblock=0.0\naction='modify'\n";
  {
    const Guard guard(parse(modify + "[modify]\nimage='replace'\ntext='replace'\n"
                                     "gallery='gallery'\n"),
                      {}, Context{});
    const Decision decision =
        guard.check({.parts = {Part::image(picture(1)), Part::text("safe caption 2")}});
    ASSERT_EQ(decision.modified.size(), 2u);
    EXPECT_EQ(decision.modified[0].detail, "safe counterpart g1");
    EXPECT_EQ(decode_image(decision.modified[0].content, "png").rgb,
              decode_image(picture(1), "png").rgb);
    EXPECT_EQ(decision.modified[1].content, "safe caption 2");
  }
  const Guard guard(parse(modify + "[modify]\nimage='redirect'\ntext='redirect'\n"), {}, Context{});
  const Decision decision = guard.check({.parts = {Part::image(picture(1))}});
  ASSERT_EQ(decision.modified.size(), 1u);
  EXPECT_EQ(decision.modified[0].how, "redirect");
  double norm = 0;
  for (const float value : decision.modified[0].embedding) norm += value * value;
  EXPECT_NEAR(norm, 1, 1e-3);
  EXPECT_TRUE(decision.modified[0].content.empty());
}

TEST_F(ClipGuard, ExplainsWithPictures) {
  const Guard guard(parse("heads='heads'\n[category.any_harm]\nflag=0.0\n"), {}, Context{});
  GuardRequest request{.parts = {Part::image(picture(1)), Part::text("a red boat near water")}};
  request.explain = true;
  const Decision decision = guard.check(request);
  ASSERT_FALSE(decision.explanations.empty());
  for (const Explanation& explanation : decision.explanations)
    EXPECT_GT(decode_image(explanation.png, "png").width, 0);
}

TEST_F(ClipGuard, AReloadKeepsTheModel) {
  Guard guard(parse("heads='heads'\n[category.weapon]\n"), {}, Context{});
  const auto before = guard.models();
  guard.reload(parse("heads='heads'\n[category.weapon]\nflag=0.5\n"));
  EXPECT_NE(guard.policy()->rule("", "weapon", Modality::kText, Side::kInput)->flag, std::nullopt);
  EXPECT_TRUE(guard.readiness().ready);
}

}  // namespace
}  // namespace parapet::guard

// Guard heads: save, load, score; calibration maps; bad files.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/methods/guard_heads/head_net.h"
#include "parapet/methods/guard_heads/heads.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

using test::TempFolder;

constexpr int64_t kDim = 8;

GuardHeadsInfo toy_info() {
  GuardHeadsInfo info;
  info.categories = {"fire", "weapon"};
  info.model_hash = "abc";
  info.embedding = "original";
  info.calibration["joint.harm"] = {ScoreCalibration::Kind::kScaled, 0.5, 1.0, {}, {}};
  info.thresholds["joint.harm"] = {0.9, 0.4, 0.1, std::nan(""), 0.5};
  info.cosine_quantiles = {-1.0, 0.0, 1.0};
  return info;
}

at::Tensor unit_rows(int64_t n, uint64_t seed) {
  at::manual_seed(seed);
  const at::Tensor x = at::randn({n, kDim});
  return x / x.norm(2, 1, true);
}

std::span<const float> row_of(const at::Tensor& x, int64_t row) {
  return {x.const_data_ptr<float>() + row * kDim, static_cast<size_t>(kDim)};
}

std::span<const float> all_of(const at::Tensor& x) {
  return {x.const_data_ptr<float>(), static_cast<size_t>(x.numel())};
}

TEST(GuardHeads, RoundTripScoresAsTheNetDoes) {
  const TempFolder folder;
  HeadNet net = HeadNet::random(kDim, 6, 2, 3);
  save_heads(folder.path(), net, toy_info());
  const GuardHeads heads = GuardHeads::load(folder.path());
  EXPECT_EQ(heads.categories(), (std::vector<std::string>{"fire", "weapon"}));
  EXPECT_EQ(heads.info().version.size(), 16u);
  EXPECT_TRUE(std::isnan(heads.info().thresholds.at("joint.harm").review_high));
  EXPECT_EQ(heads.info().thresholds.at("joint.harm").fpr1, 0.9);

  const at::Tensor image = unit_rows(5, 1), text = unit_rows(5, 2);
  const HeadLogits logits = net.forward(image, text);
  const auto scores = heads.score_batch(all_of(image), all_of(text), 5);
  for (int64_t i = 0; i < 5; ++i) {
    const GuardScores& s = scores[static_cast<size_t>(i)];
    const double harm = logits.harm[2][i][2].item<double>();
    EXPECT_NEAR(s.joint().harm, 1 / (1 + std::exp(-(0.5 * harm + 1.0))), 1e-6);
    const double weapon = logits.harm[0][i][1].item<double>();
    EXPECT_NEAR(s.image().categories[1], 1 / (1 + std::exp(-weapon)), 1e-6);
    EXPECT_NEAR(s.cosine, (image[i] * text[i]).sum().item<double>(), 1e-6);
    EXPECT_NEAR(s.cosine_percentile, (s.cosine + 1) / 2, 1e-6);
    const GuardScores single = heads.score(row_of(image, i), row_of(text, i));
    EXPECT_NEAR(single.joint().harm, s.joint().harm, 1e-5);
    EXPECT_NEAR(single.contradiction, s.contradiction, 1e-5);
  }
}

TEST(GuardHeads, ContradictionAloneEqualsTheFullPass) {
  for (const int64_t hidden : {0, 6}) {
    const HeadNet net = HeadNet::random(kDim, hidden, 3, 5);
    const at::Tensor image = unit_rows(7, 1), text = unit_rows(7, 2);
    const at::Tensor full = net.forward(image, text).contradiction;
    EXPECT_TRUE(at::allclose(net.contradiction(image, text), full, 1e-5, 1e-5));
    EXPECT_GT(full.std().item<double>(), 0.1);
  }
}

TEST(GuardHeads, APairIsHarmfulByEitherExpert) {
  const HeadNet net = HeadNet::random(kDim, 6, 2, 3);
  const at::Tensor image = unit_rows(4, 1), text = unit_rows(4, 2);
  const HeadLogits logits = net.forward(image, text);
  EXPECT_TRUE(
      at::allclose(logits.harm[2].exp(), logits.explicit_pair.exp() + logits.implicit_pair.exp()));
  // Both gains start at 1: without its own network either side is enough.
  HeadNet bare = net;
  bare.heads[2].fc2_weight = at::zeros_like(bare.heads[2].fc2_weight);
  const HeadLogits either = bare.forward(image, text);
  EXPECT_TRUE(at::allclose(either.explicit_pair, at::logaddexp(either.harm[0], either.harm[1])));
}

TEST(GuardHeads, AnAbsentSideIsAbsentNotSafe) {
  const TempFolder folder;
  HeadNet net = HeadNet::random(kDim, 0, 2, 3);
  save_heads(folder.path(), net, toy_info());
  const GuardHeads heads = GuardHeads::load(folder.path());
  const at::Tensor image = unit_rows(1, 1);
  const GuardScores scores = heads.score(all_of(image), {});
  EXPECT_TRUE(scores.image().present);
  EXPECT_FALSE(scores.text().present);
  EXPECT_FALSE(scores.joint().present);
  EXPECT_FALSE(heads.score({}, {}).image().present);
}

TEST(GuardHeads, RefusesWhatDoesNotFit) {
  const TempFolder folder;
  EXPECT_THROW(GuardHeads::load(folder.path()), DataError);
  HeadNet net = HeadNet::random(kDim, 6, 2, 3);
  save_heads(folder.path(), net, toy_info());
  const GuardHeads heads = GuardHeads::load(folder.path());
  EXPECT_NO_THROW(heads.check_model("abc", "m"));
  EXPECT_THROW(heads.check_model("abd", "m"), DataError);
  const std::vector<float> wrong(7, 0.1f), bad(kDim, std::nanf(""));
  EXPECT_THROW(heads.score(wrong, {}), UsageError);
  EXPECT_THROW(heads.score(bad, {}), DataError);

  auto json = load_json(folder.path() / "guard_heads.json");
  const auto refused = [&](const nlohmann::json& value) {
    save_json(folder.path() / "guard_heads.json", value);
    EXPECT_THROW(GuardHeads::load(folder.path()), DataError) << value.dump();
  };
  auto changed = json;
  changed["hidden"] = 7;
  refused(changed);
  changed = json;
  changed["dim"] = int64_t{1} << 40;
  refused(changed);
  changed = json;
  changed["calibration"]["joint.harm"] = {
      {"kind", "isotonic"}, {"knots", {0.0, 0.0}}, {"probabilities", {0.1, 0.2}}};
  refused(changed);
  changed = json;
  changed["calibration"]["joint.harm"]["scale"] = -1.0;
  refused(changed);
  changed = json;
  changed.erase("model_hash");
  refused(changed);
  net.cosine_gain.fill_(std::nanf(""));
  save_heads(folder.path(), net, toy_info());
  EXPECT_THROW(GuardHeads::load(folder.path()), DataError);
}

TEST(GuardHeads, VersionFollowsWeightsAndCalibration) {
  const TempFolder a, b, c;
  HeadNet net = HeadNet::random(kDim, 6, 2, 3);
  save_heads(a.path(), net, toy_info());
  GuardHeadsInfo other = toy_info();
  other.calibration["joint.harm"].shift = 1.5;
  save_heads(b.path(), net, other);
  net.heads[0].fc2_bias[0] = 1.0;
  save_heads(c.path(), net, toy_info());
  const auto version = [](const TempFolder& f) {
    return GuardHeads::load(f.path()).info().version;
  };
  EXPECT_NE(version(a), version(b));
  EXPECT_NE(version(a), version(c));
}

TEST(GuardHeads, OutliveTheirFile) {
  const TempFolder folder;
  HeadNet net = HeadNet::random(8, 4, 1, 7);
  GuardHeadsInfo info;
  info.categories = {"fire"};
  info.dim = 8;
  info.hidden = 4;
  save_heads(folder.path(), net, info);
  const GuardHeads heads = GuardHeads::load(folder.path());
  const std::vector<float> row = {1, 0, 0, 0, 0, 0, 0, 0};
  const float before = heads.score(row, row).joint().harm;
  std::filesystem::resize_file(folder / "guard_heads.safetensors", 0);
  EXPECT_EQ(heads.score(row, row).joint().harm, before);
}

TEST(ScoreCalibration, MapsAndJson) {
  ScoreCalibration isotonic{ScoreCalibration::Kind::kIsotonic, 1, 0, {-1, 1, 2}, {0.1, 0.5, 0.5}};
  EXPECT_DOUBLE_EQ(isotonic(-5), 0.1);
  EXPECT_DOUBLE_EQ(isotonic(0), 0.3);
  EXPECT_DOUBLE_EQ(isotonic(9), 0.5);
  const auto back = score_calibration_from_json(to_json(isotonic), "x");
  EXPECT_EQ(back.knots, isotonic.knots);
  EXPECT_DOUBLE_EQ(back(0.5), isotonic(0.5));
  EXPECT_DOUBLE_EQ(ScoreCalibration{}(0), 0.5);
  EXPECT_THROW(score_calibration_from_json({{"kind", "magic"}}, "x"), DataError);
}

}  // namespace
}  // namespace parapet

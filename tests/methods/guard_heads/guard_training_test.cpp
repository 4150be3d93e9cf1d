// Parts of guard training: losses, balance, adversaries, unfreezing.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "parapet/attacks/adversary.h"
#include "parapet/core/error.h"
#include "parapet/methods/guard_heads/filter_data.h"
#include "parapet/methods/guard_heads/filter_loss.h"
#include "parapet/methods/guard_heads/unfreeze.h"

namespace parapet {
namespace {

std::vector<LabelSample> toy_samples(int64_t n) {
  std::vector<LabelSample> samples;
  for (int64_t i = 0; i < n; ++i) {
    LabelSample sample;
    sample.id = std::to_string(i);
    sample.image = "i.png";
    sample.text = "t";
    sample.labels["fire"] = i % 10 == 0 ? "explicit" : "none";
    sample.attributes = {{"unsafe_side", "both"}, {"language", i % 4 == 0 ? "de" : "en"}};
    samples.push_back(std::move(sample));
  }
  return samples;
}

TEST(GuardLoss, LeavesOutWhatIsNotAsked) {
  const at::Tensor logits = at::tensor({0.5f, -1.0f, 2.0f}).view({3, 1});
  const at::Tensor targets = at::tensor({1.0f, 0.0f, -1.0f}).view({3, 1});
  const double expected = (std::log1p(std::exp(-0.5)) + std::log1p(std::exp(-1.0))) / 2;
  EXPECT_NEAR(masked_bce(logits, targets, {}, {}, 0).item<double>(), expected, 1e-6);
  const at::Tensor weight = at::tensor({3.0f});
  const double weighted = (3 * std::log1p(std::exp(-0.5)) + std::log1p(std::exp(-1.0))) / 2;
  EXPECT_NEAR(masked_bce(logits, targets, weight, {}, 0).item<double>(), weighted, 1e-6);
  EXPECT_EQ(masked_bce(logits, at::full({3, 1}, -1.0), {}, {}, 0).item<double>(), 0);
}

TEST(GuardLoss, FocalPlaysDownEasyItems) {
  const at::Tensor easy = at::tensor({4.0f}), hard = at::tensor({-1.0f}), one = at::ones({1});
  const auto ratio = [&](const at::Tensor& x) {
    return masked_bce(x, one, {}, {}, 2).item<double>() /
           masked_bce(x, one, {}, {}, 0).item<double>();
  };
  EXPECT_NEAR(ratio(easy), std::pow(1 - 1 / (1 + std::exp(-4.0)), 2), 1e-6);
  EXPECT_GT(ratio(hard), 100 * ratio(easy));
}

TEST(GuardLoss, ScoreAlignmentIsTheSpreadBetweenGroups) {
  HeadLogits logits;
  logits.harm[2] = at::tensor({2.0f, 2.0f, -2.0f, -2.0f}).view({4, 1});
  FilterTargets targets;
  for (auto& harm : targets.harm) harm = at::zeros({4, 1});
  targets.weight = at::ones({4});
  targets.group = at::tensor({0, 0, 1, 1}, at::kLong);
  const double high = 1 / (1 + std::exp(-2.0)), half = (high - (1 - high)) / 2;
  EXPECT_NEAR(score_alignment(logits, targets, 2).item<double>(), half * half / 3, 1e-6);
  targets.group = at::tensor({0, 1, 0, 1}, at::kLong);
  EXPECT_NEAR(score_alignment(logits, targets, 2).item<double>(), 0, 1e-7);
}

TEST(GuardLoss, ReversedGradient) {
  const at::Tensor x = at::ones({2}).requires_grad_(true);
  const at::Tensor y = reverse_gradient(x, 0.5);
  EXPECT_TRUE(at::allclose(y, x));
  (y * 3).sum().backward();
  EXPECT_TRUE(at::allclose(x.grad(), at::full({2}, -1.5)));
}

// The criterion as training uses it: which loss, which weights.
TEST(GuardLoss, FollowsItsOptions) {
  const FilterSet set = make_filter_set(toy_samples(40), {"fire"}, {}, false);
  at::manual_seed(4);
  HeadLogits logits;
  for (auto& harm : logits.harm) harm = at::randn({40, 2});
  logits.explicit_pair = at::randn({40, 2});
  logits.implicit_pair = at::randn({40, 2});
  const auto loss = [&](const char* kind, bool class_balance) {
    FilterLossOptions options;
    options.loss = kind;
    options.class_balance = class_balance;
    return FilterLoss(set, at::kCPU, options).classification(logits, set.targets).item<double>();
  };
  // 4 of 40 are harmful; no pair is implicit, which counts as the most unbalanced.
  const auto expected = [&](double gamma, double harmful, double implicit) {
    const auto part = [&](const at::Tensor& x, const at::Tensor& y, double weight) {
      return masked_bce(x, y, at::full({2}, weight), {}, gamma).item<double>();
    };
    double sum = part(logits.implicit_pair, set.targets.implicit_pair, implicit);
    sum += part(logits.explicit_pair, set.targets.explicit_pair, harmful);
    for (const size_t side : {0, 1})
      sum += part(logits.harm[side], set.targets.harm[side], harmful);
    return sum;
  };
  EXPECT_NEAR(loss("bce", false), expected(0, 1, 1), 1e-5);
  EXPECT_NEAR(loss("bce", true), expected(0, 9, 20), 1e-5);
  EXPECT_NEAR(loss("focal", true), expected(2, 9, 20), 1e-5);
}

TEST(GuardLoss, WhatIsDrawnInBalanceIsNotWeighedAgain) {
  FilterOptions plain;
  plain.bias.balance = "none";
  at::manual_seed(5);
  HeadLogits logits;
  for (auto& harm : logits.harm) harm = at::randn({40, 2});
  logits.explicit_pair = logits.implicit_pair = at::randn({40, 2});
  const auto ratio = [&](const char* balance) {
    FilterOptions options;
    options.bias.balance = balance;
    const FilterSet set = make_filter_set(toy_samples(40), {"fire"}, options, true);
    FilterLossOptions weighed, even;
    even.class_balance = false;
    const auto loss = [&](const FilterLossOptions& of) {
      return FilterLoss(set, at::kCPU, of).classification(logits, set.targets).item<double>();
    };
    return loss(weighed) / loss(even);
  };
  EXPECT_GT(ratio("none"), 1.5);
  EXPECT_NEAR(ratio("resample"), 1, 1e-5);
  EXPECT_NEAR(ratio("reweight"), 1, 1e-5);
}

TEST(GuardData, VerdictsOnThePairByGrade) {
  std::vector<LabelSample> samples = toy_samples(4);  // the first is explicit
  samples[1].labels["fire"] = "implicit";
  samples[2].labels["fire"] = "context";
  const FilterSet set = make_filter_set(samples, {"fire"}, {}, false);
  for (const int64_t c : {0, 1}) {
    const at::Tensor by_explicit = set.targets.explicit_pair.select(1, c);
    const at::Tensor by_implicit = set.targets.implicit_pair.select(1, c);
    EXPECT_TRUE(at::equal(by_explicit, at::tensor({1.0f, 0.0f, 0.0f, 0.0f})));
    EXPECT_TRUE(at::equal(by_implicit, at::tensor({-1.0f, 1.0f, 0.0f, 0.0f})));
    EXPECT_TRUE(at::equal(set.targets.harm[2].select(1, c), at::tensor({1.0f, 1.0f, 0.0f, 0.0f})));
  }
}

// The rows of the next batch.
std::vector<int64_t> next_rows(Source<FilterRows>& source) {
  FilterRows batch;
  EXPECT_TRUE(source.next(batch));
  return batch.rows;
}

TEST(GuardData, ResamplingDrawsCellsAlike) {
  FilterOptions options;
  options.bias.balance_by = {"language"};
  const FilterSet set = make_filter_set(toy_samples(400), {"fire"}, options, true);
  std::map<std::string, int> drawn;
  const auto source = filter_rows(set, 1, 40, 0, 1);
  for (int64_t index = 0; index < 100; ++index)
    for (const int64_t row : next_rows(*source)) {
      const LabelSample& s = set.samples[row];
      ++drawn[s.labels.at("fire") + s.attributes.at("language")];
    }
  ASSERT_EQ(drawn.size(), 4u);
  for (const auto& [cell, count] : drawn) EXPECT_NEAR(count, 1000, 120) << cell;
  // Two processes draw between them what one does, and each goes on where it was saved.
  const auto one = filter_rows(set, 1, 40, 0, 1), second = filter_rows(set, 1, 40, 1, 2);
  next_rows(*one);
  EXPECT_EQ(next_rows(*one), next_rows(*second));
  const auto again = filter_rows(set, 1, 40, 1, 2);
  again->restore(second->position());
  EXPECT_EQ(next_rows(*again), next_rows(*second));
  EXPECT_EQ(balance_table(set, options.bias).size(), 4u);
}

// Two sets of one size at one place: the second is not drawn by the first one's weights.
TEST(GuardData, DrawsFollowTheSetAsItIs) {
  FilterOptions options;
  FilterSet set = make_filter_set(toy_samples(100), {"fire"}, options, true);
  const auto harmful = [&] {
    int count = 0;
    for (const int64_t row : next_rows(*filter_rows(set, 1, 400, 0, 1)))
      count += set.samples[row].labels.at("fire") == "explicit";
    return count;
  };
  EXPECT_NEAR(harmful(), 200, 40);
  auto samples = toy_samples(100);
  std::reverse(samples.begin(), samples.end());
  set = make_filter_set(samples, {"fire"}, options, true);
  EXPECT_NEAR(harmful(), 200, 40);
}

TEST(GuardData, ReweightingKeepsEverySampleOncePerEpoch) {
  FilterOptions options;
  options.bias.balance = "reweight";
  const FilterSet set = make_filter_set(toy_samples(100), {"fire"}, options, true);
  EXPECT_NEAR(set.targets.weight.mean().item<double>(), 1, 1e-6);
  EXPECT_NEAR(set.targets.weight[0].item<double>(), 5, 1e-6);  // 10 of 100 are harmful
  std::set<int64_t> seen;
  const auto source = filter_rows(set, 1, 20, 0, 1);
  for (int64_t index = 0; index < 5; ++index)
    for (const int64_t row : next_rows(*source)) seen.insert(row);
  EXPECT_EQ(seen.size(), 100u);
}

TEST(Adversary, EmbeddingsStayWithinTheBudgetAndRaiseTheLoss) {
  at::manual_seed(1);
  const auto unit = [](at::Tensor x) { return x / x.norm(2, {1}, true); };
  at::Tensor image = unit(at::randn({6, 16})), text = unit(at::randn({6, 16}));
  text[0].zero_();  // an absent side
  const at::Tensor direction = at::randn({16});
  const auto loss = [&](const at::Tensor& i, const at::Tensor& t) {
    return at::matmul(i, direction).sum() + at::matmul(t, direction).sum();
  };
  for (const char* kind : {"fgm", "pgd"}) {
    AdversaryOptions options;
    options.kind = kind;
    options.epsilon = 0.2;
    const auto changed = adversarial_embeddings(image, text, loss, options);
    EXPECT_GT(loss(changed[0], text).item<double>(), loss(image, text).item<double>()) << kind;
    EXPECT_LE((changed[0] - image).norm(2, {1}).max().item<double>(), 0.21);
    EXPECT_NEAR(changed[0].norm(2, {1}).min().item<double>(), 1, 1e-5);
    EXPECT_EQ(changed[1][0].abs().sum().item<double>(), 0);
  }
}

TEST(Adversary, PixelsStayWithinTheBudgetAndTheRange) {
  at::manual_seed(1);
  const std::array<float, 3> mean = {0.5f, 0.4f, 0.3f}, std = {0.2f, 0.25f, 0.3f};
  const at::Tensor raw = at::rand({2, 3, 4, 4});
  const at::Tensor m = at::tensor({0.5f, 0.4f, 0.3f}).view({1, 3, 1, 1});
  const at::Tensor s = at::tensor({0.2f, 0.25f, 0.3f}).view({1, 3, 1, 1});
  const at::Tensor direction = at::randn({3, 4, 4});
  AdversaryOptions options;
  options.kind = "pixel-pgd";
  options.epsilon = 4.0 / 255;
  const at::Tensor changed =
      adversarial_pixels((raw - m) / s, [&](const at::Tensor& x) { return (x * direction).sum(); },
                         mean, std, options);
  const at::Tensor back = changed * s + m;
  EXPECT_LE((back - raw).abs().max().item<double>(), 4.0 / 255 + 1e-6);
  EXPECT_GT((back - raw).abs().mean().item<double>(), 3.0 / 255);
  EXPECT_GE(back.min().item<double>(), -1e-6);
  EXPECT_LE(back.max().item<double>(), 1 + 1e-6);
}

ClipConfig six_layers() {
  ClipConfig config;
  config.vision.num_hidden_layers = 6;
  config.text.num_hidden_layers = 4;
  for (auto* tower_width : {&config.vision.hidden_size, &config.text.hidden_size})
    *tower_width = 16;
  config.vision.intermediate_size = config.text.intermediate_size = 16;
  config.vision.num_attention_heads = config.text.num_attention_heads = 2;
  config.vision.image_size = 32;
  config.vision.patch_size = 16;
  config.text.vocab_size = 64;
  config.projection_dim = config.vision.projection_dim = config.text.projection_dim = 8;
  return config;
}

TEST(Unfreeze, TopLayersInStages) {
  ClipModel model = ClipModel::random(six_layers(), 1);
  UnfreezeOptions options;  // share .5, 3 stages
  options.trunk_lr = 1e-5;
  options.layer_decay = 0.5;
  auto plan = unfreeze_plan(model, options);
  std::map<std::string, TrunkParameter> by_name;
  for (const auto& p : plan) by_name[p.name] = p;
  const auto vision = [&](int layer) {
    return "vision_model.encoder.layers." + std::to_string(layer) + ".mlp.fc1.weight";
  };
  EXPECT_FALSE(by_name.contains(vision(2)));
  for (const int layer : {3, 4, 5}) {
    ASSERT_TRUE(by_name.contains(vision(layer)));
    EXPECT_EQ(by_name[vision(layer)].depth, 5 - layer);
    EXPECT_EQ(by_name[vision(layer)].stage, 5 - layer);
    EXPECT_DOUBLE_EQ(by_name[vision(layer)].lr, 1e-5 * std::pow(0.5, 5 - layer));
  }
  EXPECT_EQ(by_name["visual_projection.weight"].stage, 0);
  EXPECT_TRUE(by_name.contains("text_model.encoder.layers.2.mlp.fc1.weight"));
  EXPECT_FALSE(by_name.contains("text_model.encoder.layers.1.mlp.fc1.weight"));
  for (const char* frozen : {"logit_scale", "text_model.embeddings.token_embedding.weight",
                             "vision_model.embeddings.class_embedding"})
    EXPECT_FALSE(by_name.contains(frozen)) << frozen;
  apply_unfreezing(plan, 1);
  EXPECT_TRUE(by_name[vision(4)].tensor.requires_grad());
  EXPECT_FALSE(by_name[vision(3)].tensor.requires_grad());
  apply_unfreezing(plan, 2);
  EXPECT_TRUE(by_name[vision(3)].tensor.requires_grad());
  options.share = 0;
  EXPECT_TRUE(unfreeze_plan(model, options).empty());
}

}  // namespace
}  // namespace parapet

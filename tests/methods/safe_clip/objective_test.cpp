#include "parapet/methods/safe_clip/objective.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>

#include "parapet/core/error.h"
#include "parapet/methods/safe_clip/terms.h"
#include "parapet/nn/contrastive.h"

namespace parapet {
namespace {

// The message of everything wrong with the options, empty when nothing is.
std::string problems(const ObjectiveOptions& options) {
  Problems problems;
  options.validate(problems);
  try {
    problems.throw_if_any("options");
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

ObjectiveInput random_input(int64_t n) {
  ObjectiveInput input;
  at::Tensor* parts[] = {
      &input.tuned.safe_text,      &input.tuned.unsafe_text,      &input.tuned.safe_image,
      &input.tuned.unsafe_image,   &input.reference.safe_text,    &input.reference.unsafe_text,
      &input.reference.safe_image, &input.reference.unsafe_image, &input.target_text,
      &input.target_text_image,    &input.target_image,           &input.target_image_text};
  auto generator = at::make_generator<at::CPUGeneratorImpl>(5);
  for (at::Tensor* part : parts) *part = nn::normalise_rows(at::randn({n, 8}, generator));
  input.text_unsafe = input.image_unsafe = at::ones({n}, at::kBool);
  return input;
}

double term(const StepLoss& loss, const std::string& name) {
  for (const auto& t : loss.terms)
    if (t.name == name) return t.value.item<double>();
  ADD_FAILURE() << "no term " << name;
  return 0;
}

std::unique_ptr<Objective> objective(const std::string& name) {
  ObjectiveOptions options;
  options.name = name;
  return make_objective(options);
}

TEST(ObjectiveOptions, EveryProblemIsReported) {
  ObjectiveOptions options;
  EXPECT_EQ(problems(options), "");
  options.weights = {1, 2, -3};
  options.order_sharpness = 0;
  options.logit_scale = "warm";
  const std::string all = problems(options);
  for (const char* part : {"eight numbers", ">= 0", "--order-sharpness", "--logit-scale"})
    EXPECT_NE(all.find(part), std::string::npos) << part << " in " << all;
  ObjectiveOptions zero;
  zero.weights.assign(8, 0.0);
  EXPECT_NE(problems(zero), "");
  ObjectiveOptions shield;
  shield.name = "shield_clip";
  shield.weights.assign(8, 1.0);
  EXPECT_NE(problems(shield), "");
}

TEST(Objective, UnknownNameIsRefused) { EXPECT_THROW(objective("kinder_clip"), UsageError); }

TEST(Objective, WeightsAreNormalised) {
  ObjectiveOptions one, ten;
  one.name = ten.name = "safe_clip";
  one.weights = {1, 2, 3, 4, 5, 6, 7, 8};
  for (double weight : one.weights) ten.weights.push_back(10 * weight);
  const auto input = random_input(4);
  EXPECT_NEAR(make_objective(one)->compute(input).total.item<double>(),
              make_objective(ten)->compute(input).total.item<double>(), 1e-6);
}

TEST(Objective, OrderTermIsSmallOnlyWhenTheSafeItemLeads) {
  const at::Tensor low = at::full({3}, 0.2), high = at::full({3}, 0.9);
  EXPECT_LT(order_term(low, high, 20, 0.02).item<double>(), 1e-6);
  EXPECT_NEAR(order_term(high, low, 20, 0.02).item<double>(), 0.72, 1e-4);
  // A tie costs softplus(k m) / k: the margin is not met.
  EXPECT_NEAR(order_term(low, low, 20, 0.02).item<double>(), std::log1p(std::exp(0.4)) / 20, 1e-6);
}

TEST(Objective, OrderedSeesATieThatSafeClipDoesNot) {
  ObjectiveInput tie = random_input(4);
  tie.reference.safe_text = tie.reference.safe_image;  // a model whose pairs coincide
  tie.tuned = {tie.reference.safe_text, tie.reference.safe_text, tie.reference.safe_image,
               tie.reference.safe_image};  // moved perfectly: unsafe = safe
  const auto loss = objective("ordered")->compute(tie);
  EXPECT_NEAR(term(loss, "text_nsfw") + term(loss, "vision_nsfw"), 0, 1e-6);
  EXPECT_NEAR(term(loss, "order_new"), 4 * std::log1p(std::exp(0.4)) / 20, 1e-5);
}

// Each row's loss is the one it has in a batch from which its doubles were taken out.
TEST(InfoNce, DoublesAreNoNegatives) {
  const ObjectiveInput input = random_input(6);
  const at::Tensor x = input.tuned.safe_text, y = input.tuned.safe_image;
  const at::Tensor x_keys = at::tensor({0, 1, 2, 0, 4, 5}, at::kLong);
  const at::Tensor y_keys = at::tensor({0, 1, 2, 3, 2, 5}, at::kLong);
  const at::Tensor logits = at::mm(x, y.t()) * 7.0;
  double expected = 0;
  for (int64_t i = 0; i < 6; ++i) {
    std::vector<int64_t> kept = {i};
    for (int64_t j = 0; j < 6; ++j)
      if (!x_keys[i].equal(x_keys[j]) && !y_keys[i].equal(y_keys[j])) kept.push_back(j);
    const at::Tensor rows = at::tensor(kept, at::kLong);
    for (const at::Tensor& row : {logits[i], logits.select(1, i)})
      expected += (row.index_select(0, rows).logsumexp(0) - row[i]).item<double>() / 12;
  }
  const at::Tensor duplicates = nn::duplicate_rows(x_keys, y_keys);
  EXPECT_NEAR(nn::info_nce(x, y, 7.0, duplicates).item<double>(), expected, 1e-5);
  EXPECT_GT(nn::info_nce(x, y, 7.0).item<double>(), expected + 0.01);
}

// A batch of one quadruplet twice says what the one says alone.
TEST(Objective, DoublesAreNoNegatives) {
  ObjectiveInput single = random_input(1), twice = random_input(1);
  for (auto* part : {&twice.tuned, &twice.reference})
    for (at::Tensor* x :
         {&part->safe_text, &part->unsafe_text, &part->safe_image, &part->unsafe_image})
      *x = at::cat({*x, *x});
  twice.text_unsafe = twice.image_unsafe = at::ones({2}, at::kBool);
  const at::Tensor keys = at::zeros({2}, at::kLong);
  const ObjectiveInput unmasked = twice;
  twice.keys = {keys, keys, keys, keys};
  for (const char* name : {"safe_clip", "ordered", "shield_clip"}) {
    const auto total = [&](const ObjectiveInput& input) {
      return objective(name)->compute(input).total.item<double>();
    };
    EXPECT_NEAR(total(twice), total(single), 1e-5) << name;
    EXPECT_GT(total(unmasked), total(single) + 0.01) << name;
  }
  // Rows that share only a caption, or only a picture.
  const at::Tensor own = at::arange(10), pairs = at::arange(10).floor_divide(2);
  const at::Tensor shared = nn::duplicate_rows(own, pairs);
  EXPECT_EQ(shared.sum().item<int64_t>(), 10);
  EXPECT_TRUE(shared.equal(nn::duplicate_rows(pairs, own)));
  EXPECT_FALSE(nn::duplicate_rows(pairs, at::Tensor()).defined());
}

TEST(Objective, ShieldWithoutUnsafeHalvesOnlyPreserves) {
  ObjectiveInput input = random_input(4);
  input.text_unsafe = input.image_unsafe = at::zeros({4}, at::kBool);
  const auto loss = objective("shield_clip")->compute(input);
  for (const char* name :
       {"redirect_text", "redirect_vision", "mixed_text", "mixed_vision", "coherence"})
    EXPECT_EQ(term(loss, name), 0) << name;
  EXPECT_NEAR(loss.total.item<double>(),
              0.1 * (term(loss, "preserve_real") + term(loss, "preserve_generated")), 1e-5);
}

TEST(Objective, SaferCurriculumAdmitsEasyPairsFirst) {
  ObjectiveInput input = random_input(6);
  input.difficulty = at::arange(6, at::kFloat) / 6.0;
  const auto safer = objective("safer_clip");
  // Mean of 1 - cos over the first `admitted` rows.
  auto redirect = [&](int64_t admitted) {
    return (1 - nn::row_cosine(input.tuned.unsafe_text, input.target_text))
        .slice(0, 0, admitted)
        .mean()
        .item<double>();
  };
  for (const auto& [progress, admitted] : {std::pair(0.0, 3), {0.15, 5}, {0.3, 6}, {1.0, 6}}) {
    input.progress = progress;
    EXPECT_NEAR(term(safer->compute(input), "text_redirect"), redirect(admitted), 1e-5) << progress;
  }
  input.progress = 0;
  input.difficulty = at::ones({6});  // a batch of hard pairs only: nothing to redirect, no NaN
  const auto loss = safer->compute(input);
  EXPECT_EQ(term(loss, "text_redirect"), 0);
  EXPECT_TRUE(std::isfinite(loss.total.item<double>()));
}

}  // namespace
}  // namespace parapet

// Categories from sentences and from a few examples.
#include <gtest/gtest.h>

#include <cmath>

#include "parapet/core/error.h"
#include "parapet/core/random.h"
#include "parapet/methods/clip_filter/few_shot.h"
#include "parapet/methods/clip_filter/zero_shot.h"

namespace parapet {
namespace {

constexpr int64_t kDim = 64;

// Unit rows around a shared mean; harmful ones lean towards axis 0.
struct Examples {
  std::vector<float> rows;
  std::vector<uint8_t> labels;
  Examples(int64_t n, uint64_t seed, double lean = 0.5) {
    Random random(seed);
    for (int64_t i = 0; i < n; ++i) {
      const bool harmful = i % 2 == 0;
      std::vector<double> row(kDim);
      double norm = 0;
      for (int64_t c = 0; c < kDim; ++c) {
        row[c] = 0.1 * random.normal() + (c == 1 ? 0.8 : 0) + (c == 0 && harmful ? lean : 0);
        norm += row[c] * row[c];
      }
      for (const double value : row) rows.push_back(static_cast<float>(value / std::sqrt(norm)));
      labels.push_back(harmful);
    }
  }
  std::span<const float> row(size_t i) const { return {rows.data() + i * kDim, kDim}; }
};

double accuracy(const FewShotHead& head, const Examples& test) {
  double right = 0;
  for (size_t i = 0; i < test.labels.size(); ++i)
    right += (head.score(test.row(i)) >= 0.5) == (test.labels[i] != 0);
  return right / static_cast<double>(test.labels.size());
}

TEST(FewShot, LearnsFromTenExamplesAndItsScoresMeanSomething) {
  const Examples train(10, 1), test(400, 2);
  for (const auto kind : {FewShotOptions::Kind::kRidge, FewShotOptions::Kind::kLda}) {
    const FewShotHead head = fit_few_shot(train.rows, train.labels, kDim, {kind, 0.5});
    EXPECT_GT(accuracy(head, test), 0.9);
    double brier = 0;
    for (size_t i = 0; i < test.labels.size(); ++i)
      brier += std::pow(head.score(test.row(i)) - test.labels[i], 2) / 400;
    EXPECT_LT(brier, 0.12);
  }
}

TEST(FewShot, RidgeSolvesItsNormalEquations) {
  // With balanced classes: (Z^T Z + strength I) w is proportional to Z^T y.
  const Examples train(12, 3);
  const FewShotHead head = fit_few_shot(train.rows, train.labels, kDim, {{}, 0.7});
  std::vector<double> mean(kDim), left(kDim), right(kDim);
  for (size_t i = 0; i < 12; ++i)
    for (int64_t c = 0; c < kDim; ++c) mean[c] += train.row(i)[c] / 12;
  for (size_t i = 0; i < 12; ++i) {
    double dot = 0;
    for (int64_t c = 0; c < kDim; ++c) dot += (train.row(i)[c] - mean[c]) * head.weight[c];
    for (int64_t c = 0; c < kDim; ++c) {
      left[c] += dot * (train.row(i)[c] - mean[c]);
      right[c] += (train.labels[i] ? 1 : -1) * (train.row(i)[c] - mean[c]);
    }
  }
  double ab = 0, aa = 0, bb = 0;
  for (int64_t c = 0; c < kDim; ++c) {
    const double a = left[c] + 0.7 * head.weight[c];
    ab += a * right[c], aa += a * a, bb += right[c] * right[c];
  }
  EXPECT_NEAR(ab / std::sqrt(aa * bb), 1, 1e-5);
}

TEST(FewShot, WithoutSignalScoresStayNearOneHalf) {
  const Examples train(40, 5, 0.0), test(200, 6, 0.0);
  const FewShotHead head = fit_few_shot(train.rows, train.labels, kDim);
  for (size_t i = 0; i < 200; ++i) EXPECT_NEAR(head.score(test.row(i)), 0.5, 0.35);
  EXPECT_NEAR(accuracy(head, test), 0.5, 0.15);
}

TEST(FewShot, RefusesWhatItCannotFit) {
  const Examples train(10, 1);
  const std::vector<uint8_t> one_class(10, 1);
  EXPECT_THROW(fit_few_shot(train.rows, one_class, kDim), UsageError);
  EXPECT_THROW(fit_few_shot(train.rows, train.labels, kDim + 1), UsageError);
  EXPECT_THROW(fit_few_shot(train.rows, train.labels, kDim, {{}, 0.0}), UsageError);
}

TEST(ZeroShot, NearerToHarmfulPromptsScoresHigher) {
  const std::vector<float> harmful = {1, 0, 0, 0.8f, 0.6f, 0}, neutral = {0, 0, 1};
  const ZeroShotCategory category("fire", harmful, neutral, 3, 20);
  const std::vector<float> fire = {0.9f, 0.43589f, 0}, plain = {0, 0, 1};
  EXPECT_GT(category.score(fire), 0.99);
  EXPECT_LT(category.score(plain), 0.01);
  const double norm = std::sqrt(1.8 * 1.8 + 0.6 * 0.6);
  const double expected = 20 * (0.9 * 1.8 / norm + 0.43589 * 0.6 / norm);
  EXPECT_NEAR(category.score(fire), 1 / (1 + std::exp(-expected)), 1e-6);
  EXPECT_THROW(ZeroShotCategory("x", harmful, {}, 3, 20), UsageError);
  EXPECT_THROW(category.score(harmful), UsageError);
  EXPECT_EQ(category_prompts({"a", "b"}, {"see {}", "{}!"}),
            (std::vector<std::string>{"see a", "see b", "a!", "b!"}));
  EXPECT_THROW(category_prompts({"a"}, {"no place"}), UsageError);
}

}  // namespace
}  // namespace parapet

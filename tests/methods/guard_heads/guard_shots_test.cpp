// Categories from sentences and from a few examples.
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "parapet/core/error.h"
#include "parapet/core/random.h"
#include "parapet/methods/guard_heads/few_shot.h"
#include "parapet/methods/guard_heads/zero_shot.h"

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

double cosine(const std::vector<double>& a, const std::vector<double>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t c = 0; c < a.size(); ++c) ab += a[c] * b[c], aa += a[c] * a[c], bb += b[c] * b[c];
  return ab / std::sqrt(aa * bb);
}

// Means of benign and harmful rows.
std::array<std::vector<double>, 2> class_means(const Examples& train) {
  std::array<std::vector<double>, 2> means = {std::vector<double>(kDim), std::vector<double>(kDim)};
  double sizes[2] = {0, 0};
  for (const uint8_t label : train.labels) sizes[label] += 1;
  for (size_t i = 0; i < train.labels.size(); ++i)
    for (int64_t c = 0; c < kDim; ++c)
      means[train.labels[i]][c] += train.row(i)[c] / sizes[train.labels[i]];
  return means;
}

// Of `n` examples only the first `harmful` harmful ones are left.
Examples unbalanced(int64_t n, uint64_t seed, int64_t harmful) {
  const Examples all(n, seed);
  Examples kept(0, seed);
  for (size_t i = 0; i < all.labels.size(); ++i) {
    if (all.labels[i] && harmful-- <= 0) continue;
    kept.labels.push_back(all.labels[i]);
    kept.rows.insert(kept.rows.end(), all.row(i).begin(), all.row(i).end());
  }
  return kept;
}

// (Z^T D Z + strength I) w is proportional to Z^T D y: rows less the midpoint of the class means, D
// makes the classes count alike.
TEST(FewShot, RidgeSolvesItsNormalEquations) {
  for (const Examples& train : {Examples(12, 3), unbalanced(40, 3, 4)}) {
    const FewShotHead head = fit_few_shot(train.rows, train.labels, kDim, {{}, 0.7});
    const auto means = class_means(train);
    const auto n = static_cast<double>(train.labels.size());
    double harmful = 0;
    for (const uint8_t label : train.labels) harmful += label;
    std::vector<double> left(kDim), right(kDim);
    for (size_t i = 0; i < train.labels.size(); ++i) {
      const double balance = n / 2 / (train.labels[i] ? harmful : n - harmful);
      const auto z = [&](int64_t c) { return train.row(i)[c] - (means[0][c] + means[1][c]) / 2; };
      double dot = 0;
      for (int64_t c = 0; c < kDim; ++c) dot += z(c) * head.weight[c];
      for (int64_t c = 0; c < kDim; ++c) {
        left[c] += balance * dot * z(c);
        right[c] += balance * (train.labels[i] ? 1 : -1) * z(c);
      }
    }
    for (int64_t c = 0; c < kDim; ++c) left[c] += 0.7 * head.weight[c];
    EXPECT_NEAR(cosine(left, right), 1, 1e-5);
  }
}

// ((1 - s) S + s v I) w is proportional to the difference of the means, as scikit-learn's
// LinearDiscriminantAnalysis with shrinkage s.
TEST(FewShot, DiscriminantSolvesItsEquations) {
  for (const double s : {0.1, 0.6}) {
    const Examples train(20, 4);
    const FewShotHead head =
        fit_few_shot(train.rows, train.labels, kDim, {FewShotOptions::Kind::kLda, s});
    const auto means = class_means(train);
    std::vector<double> left(kDim), difference(kDim);
    double trace = 0;
    for (size_t i = 0; i < 20; ++i) {
      const auto z = [&](int64_t c) { return train.row(i)[c] - means[train.labels[i]][c]; };
      double dot = 0;
      for (int64_t c = 0; c < kDim; ++c) dot += z(c) * head.weight[c], trace += z(c) * z(c);
      for (int64_t c = 0; c < kDim; ++c) left[c] += (1 - s) * dot * z(c);
    }
    for (int64_t c = 0; c < kDim; ++c) {
      left[c] += s * trace / kDim * head.weight[c];
      difference[c] = means[1][c] - means[0][c];
    }
    EXPECT_NEAR(cosine(left, difference), 1, 1e-5) << s;
  }
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

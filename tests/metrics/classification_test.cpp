// Detection metrics and calibration fits against scikit-learn and scipy (goldens), intervals,
// conformal bounds, fairness.
#include "parapet/metrics/classification.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/random.h"
#include "parapet/metrics/calibration.h"
#include "parapet/metrics/fairness.h"

namespace parapet {
namespace {

constexpr double kTolerance = 1e-9, kFitTolerance = 2e-4;

nlohmann::json goldens() {
  return load_json(std::string(PARAPET_SOURCE_DIR) + "/tests/goldens/classification.json");
}

ScoredItems items_of(const nlohmann::json& golden) {
  return {golden["logits"].get<std::vector<double>>(),
          golden["labels"].get<std::vector<uint8_t>>()};
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

ScoredItems drawn(int64_t n, double shift, Random& random) {
  ScoredItems items;
  for (int64_t i = 0; i < n; ++i) {
    const bool label = random.chance(0.4);
    items.add(sigmoid(random.normal() + (label ? shift : 0)), label);
  }
  return items;
}

TEST(Classification, EqualsScikitLearn) {
  for (const auto& golden : goldens()) {
    const ScoredItems items = items_of(golden);
    const RankedItems ranked(items);
    const auto weights = golden["weights"].get<std::vector<float>>();
    for (const char* name : {"plain", "weighted"}) {
      SCOPED_TRACE(name);
      const ItemCounts counts = name == std::string("plain") ? ItemCounts{} : ItemCounts(weights);
      const auto& g = golden[name];
      EXPECT_NEAR(ranked.auroc(counts), g["auroc"], kTolerance);
      EXPECT_NEAR(ranked.recall_at_fpr(0.10, counts), g["recall_at_fpr10"], kTolerance);
      EXPECT_NEAR(ranked.fpr_at_recall(0.95, counts), g["fpr_at_recall95"], kTolerance);
      EXPECT_NEAR(ranked.precision_at_recall(0.8, counts), g["precision_at_recall80"], kTolerance);
      const Confusion c = confusion_at(items, 0.25, counts);
      EXPECT_NEAR(c.accuracy(), g["accuracy"], kTolerance);
      EXPECT_NEAR(c.precision(), g["precision"], kTolerance);
      EXPECT_NEAR(c.recall(), g["recall"], kTolerance);
      EXPECT_NEAR(c.f1(), g["f1"], kTolerance);
    }
  }
}

TEST(Classification, ThresholdsDoWhatTheySay) {
  for (const auto& golden : goldens()) {
    const ScoredItems items = items_of(golden);
    const RankedItems ranked(items);
    const double low_alarm = ranked.threshold_at_fpr(0.05);
    EXPECT_LE(confusion_at(items, low_alarm).fpr(), 0.05);
    EXPECT_DOUBLE_EQ(confusion_at(items, low_alarm).recall(), ranked.recall_at_fpr(0.05));
    const double high_recall = ranked.threshold_at_recall(0.9);
    EXPECT_GE(confusion_at(items, high_recall).recall(), 0.9);
    EXPECT_LT(confusion_at(items, std::nextafter(high_recall, INFINITY)).recall(), 0.9);
    const double best = confusion_at(items, ranked.threshold_of_best_f1()).f1();
    for (const double score : items.scores) EXPECT_GE(best, confusion_at(items, score).f1());
  }
}

TEST(Classification, EdgeCases) {
  const RankedItems one_class({{0.1, 0.2}, {1, 1}});
  EXPECT_TRUE(std::isnan(one_class.auroc()));
  EXPECT_TRUE(std::isnan(one_class.fpr_at_recall(0.5)));
  EXPECT_DOUBLE_EQ(RankedItems({{0.5, 0.5, 0.5}, {1, 0, 1}}).auroc(), 0.5);
  EXPECT_THROW(RankedItems({{NAN}, {1}}), DataError);
  EXPECT_THROW(RankedItems({{0.5, 0.4}, {1}}), UsageError);
  EXPECT_EQ(confusion_at({{0.1}, {1}}, 0.5).precision(), 0.0);
  const auto roc = RankedItems({{0.9, 0.2}, {1, 0}}).roc();
  ASSERT_EQ(roc.size(), 3u);
  EXPECT_EQ(roc[1].tpr, 1.0);
  EXPECT_EQ(roc[1].fpr, 0.0);
}

TEST(Classification, IntervalOfAurocMatchesHanleyMcNeil) {
  Random random(5);
  const ScoredItems items = drawn(800, 1.2, random);
  const Estimate e = auroc_estimate(items, {.resamples = 600});
  double positives = 0;
  for (const uint8_t label : items.labels) positives += label;
  const double negatives = static_cast<double>(items.size()) - positives, a = e.value;
  const double q1 = a / (2 - a), q2 = 2 * a * a / (1 + a);
  const double deviation =
      std::sqrt((a * (1 - a) + (positives - 1) * (q1 - a * a) + (negatives - 1) * (q2 - a * a)) /
                (positives * negatives));
  EXPECT_NEAR((e.high - e.low) / 2, 1.96 * deviation, 0.2 * 1.96 * deviation);
  EXPECT_EQ(e.n, 800);
}

TEST(Calibration, FitsEqualScipyAndScikitLearn) {
  for (const auto& golden : goldens()) {
    const ScoredItems items = items_of(golden);
    const auto& g = golden["calibration"];
    EXPECT_NEAR(fit_temperature(items).scale, g["temperature_scale"], kFitTolerance);
    EXPECT_NEAR(fit_platt(items).scale, g["platt_scale"], kFitTolerance);
    EXPECT_NEAR(fit_platt(items).shift, g["platt_shift"], kFitTolerance);
    const IsotonicFit fit = fit_isotonic(items);
    const auto value_at = [&](double x) {
      if (x <= fit.knots.front()) return fit.values.front();
      for (size_t k = 1; k < fit.knots.size(); ++k)
        if (x <= fit.knots[k])
          return fit.values[k - 1] + (x - fit.knots[k - 1]) / (fit.knots[k] - fit.knots[k - 1]) *
                                         (fit.values[k] - fit.values[k - 1]);
      return fit.values.back();
    };
    for (size_t i = 0; i < g["grid"].size(); ++i)
      EXPECT_NEAR(value_at(g["grid"][i]), g["isotonic"][i], 1e-7) << i;
    ScoredItems probabilities = items;
    for (double& score : probabilities.scores) score = sigmoid(score);
    EXPECT_NEAR(expected_calibration_error(probabilities), g["ece"], kTolerance);
    EXPECT_NEAR(brier_score(probabilities), g["brier"], kTolerance);
  }
  EXPECT_THROW(fit_platt({{0.1, 0.2}, {0, 0}}), DataError);
}

TEST(Calibration, SeparableDataKeepsAFiniteMap) {
  const ScaledFit fit = fit_platt({{-3, -2, 2, 3}, {0, 0, 1, 1}});
  EXPECT_TRUE(std::isfinite(fit.scale));
  EXPECT_GT(fit.scale, 0);
}

// Over many draws of calibration and test sets the mean miss rate stays at or below alpha, and the
// bound is not idle.
TEST(Calibration, ConformalBandBoundsMissesAndAlarms) {
  Random random(9);
  constexpr double kAlpha = 0.1;
  double missed = 0, harmful = 0, alarms = 0, benign = 0;
  for (int round = 0; round < 200; ++round) {
    const ConformalBand band = conformal_band(drawn(120, 1.0, random), kAlpha);
    EXPECT_LE(band.low, band.high);
    const ScoredItems test = drawn(120, 1.0, random);
    for (size_t i = 0; i < test.scores.size(); ++i) {
      (test.labels[i] ? harmful : benign) += 1;
      missed += test.labels[i] && test.scores[i] < band.low;
      alarms += !test.labels[i] && test.scores[i] >= band.high;
    }
  }
  EXPECT_LE(missed / harmful, kAlpha + 0.01);
  EXPECT_GE(missed / harmful, kAlpha - 0.04);
  EXPECT_LE(alarms / benign, kAlpha + 0.01);
  const ConformalBand few = conformal_band({{0.5, 0.6}, {1, 0}}, kAlpha);
  EXPECT_EQ(few.low, 0.0);   // nothing is cleared
  EXPECT_GT(few.high, 1.0);  // nothing is blocked without a look
}

// Where every resample is the same, an interval of width zero would claim certainty.
TEST(Classification, PerfectResultsStillHaveAnInterval) {
  ScoredItems items;
  for (int i = 0; i < 60; ++i) items.add(i < 10 ? 0.9 + 0.001 * i : 0.1 + 0.001 * i, i < 10);
  const DetectionMetrics m = detection_metrics(items, 0.5, {.resamples = 100});
  EXPECT_EQ(m.auroc.value, 1);
  EXPECT_NEAR(m.auroc.low, wilson_share(10, 10).low, 1e-12);  // 10 harmful items
  EXPECT_EQ(auroc_estimate(items, {.resamples = 100}).low, m.auroc.low);
  EXPECT_NEAR(m.recall.low, wilson_share(10, 10).low, 1e-12);
  EXPECT_NEAR(m.fpr.high, wilson_share(0, 50).high, 1e-12);
  EXPECT_NEAR(m.accuracy.low, wilson_share(60, 60).low, 1e-12);
  EXPECT_EQ(m.accuracy.high, 1);
  EXPECT_EQ(m.accuracy.n, 60);
  EXPECT_TRUE(std::isnan(auroc_estimate({{0.1, 0.2}, {1, 1}}, {}).value));
}

TEST(Fairness, FindsTheGroupThatIsTreatedWorse) {
  // Group "b": benign items score as high as harmful ones of group "a".
  ScoredItems items;
  std::vector<std::string> groups;
  Random random(3);
  for (int i = 0; i < 2000; ++i) {
    const bool label = random.chance(0.5), b = random.chance(0.5);
    items.add((label ? 0.8 : b ? 0.7 : 0.2) + 0.1 * random.normal(), label);
    groups.emplace_back(b ? "b" : "a");
  }
  const FairnessResult result = fairness(items, groups, 0.6, {.resamples = 200});
  ASSERT_EQ(result.groups.size(), 2u);
  const GroupFairness &a = result.groups[0], &b = result.groups[1];
  EXPECT_GT(a.subgroup_auc.value, 0.99);
  EXPECT_LT(b.bpsn_auc.value, 0.85);
  EXPECT_GT(b.bnsp_auc.value, 0.99);
  EXPECT_LT(a.fpr.value, 0.02);
  EXPECT_GT(b.fpr.value, 0.7);
  EXPECT_NEAR(result.fpr_gap.value, b.fpr.value - a.fpr.value, 1e-12);
  EXPECT_LT(result.fpr_gap.low, result.fpr_gap.value);
  EXPECT_LT(result.final_metric, 1);
  EXPECT_NEAR(generalised_mean({0.5, 1.0, NAN}, -5), std::pow((32.0 + 1) / 2, -0.2), 1e-12);
  groups.pop_back();
  EXPECT_THROW(fairness(items, groups, 0.6, {}), UsageError);
}

}  // namespace
}  // namespace parapet

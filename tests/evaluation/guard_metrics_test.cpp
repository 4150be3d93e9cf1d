// What a guard report counts: which samples each measure takes, against counts made by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "parapet/core/random.h"
#include "parapet/evaluation/evaluate_guard.h"
#include "parapet/metrics/calibration.h"

namespace parapet {
namespace {

const double kNan = std::nan("");

// One pair of the made-up set; scores are drawn from its id unless given.
struct Pair {
  std::string kind{}, grade = "none", side{}, swapped{}, wording{};
  int count = 20;
};

class GuardMetrics : public ::testing::Test {
 protected:
  GuardMetrics() : random_(11) {
    input_.categories = {"fire", "weapon"};
    input_.group_attributes = {"language"};
    input_.bootstrap.resamples = 200;
    input_.conformal_alpha = 0.1;
    input_.points["image.harm"] = {0.8, 0.6, 0.1, 0.9};
    input_.points["text.harm"] = {0.7, 0.5, 0.1, 0.9};
    input_.points["joint.harm"] = {0.75, 0.55, 0.2, 0.85};
    input_.points["joint.fire"] = {0.6, 0.45, 0.1, 0.9};
    input_.points["joint.weapon"] = {0.6, 0.65, 0.1, 0.9};
    add({.kind = "safe", .count = 60});
    add({.kind = "explicit", .grade = "explicit", .side = "both", .count = 30});
    add({.kind = "one_sided", .grade = "explicit", .side = "image"});
    add({.kind = "one_sided", .grade = "explicit", .side = "text"});
    add({.kind = "implicit", .grade = "implicit", .wording = "seen"});
    add({.kind = "implicit", .grade = "implicit", .wording = "new"});
    add({.kind = "implicit", .wording = "seen"});
    add({.kind = "implicit", .wording = "new"});
    add({.kind = "context", .grade = "context"});
    add({.kind = "contradiction", .swapped = "colour"});
    add_lone_text();
  }

  void add(const Pair& pair) {
    for (int i = 0; i < pair.count; ++i) {
      LabelSample sample;
      sample.id = std::to_string(input_.samples.size());
      sample.image = sample.text = sample.id;
      const bool weapon = random_.chance(0.5);
      sample.labels["fire"] = weapon ? "none" : pair.grade;
      sample.labels["weapon"] = weapon ? pair.grade : "none";
      sample.attributes["kind"] = pair.kind;
      sample.attributes["language"] = random_.chance(0.5) ? "de" : "en";
      if (!pair.side.empty()) sample.attributes["unsafe_side"] = pair.side;
      if (!pair.swapped.empty()) sample.attributes["swapped"] = pair.swapped;
      if (!pair.wording.empty()) sample.attributes["wording"] = pair.wording;
      GuardScoreRow row{{draw(), draw(), draw()}, {}, draw(), draw(), kNan};
      for (auto& categories : row.categories) categories = {draw(), draw()};
      if (pair.side == "image" || pair.side == "both") row.broken_pair = draw();
      input_.samples.push_back(std::move(sample));
      input_.scores.push_back(std::move(row));
    }
  }

  // A text alone, labelled harmful: in no measure of pairs.
  void add_lone_text() {
    LabelSample sample;
    sample.id = "lone";
    sample.text = "x";
    sample.labels["fire"] = "explicit";
    GuardScoreRow row{{kNan, 0.99, kNan}, {}, kNan, kNan, kNan};
    row.categories[1] = {0.9, 0.1};
    input_.samples.push_back(std::move(sample));
    input_.scores.push_back(std::move(row));
  }

  double draw() { return static_cast<float>(random_.uniform()); }

  const std::string& kind(size_t i) const {
    static const std::string none;
    const auto it = input_.samples[i].attributes.find("kind");
    return it == input_.samples[i].attributes.end() ? none : it->second;
  }
  std::string attribute(size_t i, const std::string& name) const {
    const auto it = input_.samples[i].attributes.find(name);
    return it == input_.samples[i].attributes.end() ? "" : it->second;
  }
  bool graded(size_t i, const std::string& grade) const {
    for (const auto& [category, value] : input_.samples[i].labels)
      if (value == grade) return true;
    return false;
  }
  bool harmful_pair(size_t i) const { return graded(i, "explicit") || graded(i, "implicit"); }

  // Share of (harmful, benign) pairs of items that `score` ranks right.
  double auroc(const std::function<bool(size_t)>& harmful,
               const std::function<bool(size_t)>& benign,
               const std::function<double(size_t)>& score) const {
    double right = 0, all = 0;
    for (size_t i = 0; i < input_.samples.size(); ++i)
      for (size_t j = 0; harmful(i) && j < input_.samples.size(); ++j) {
        if (!benign(j)) continue;
        all += 1;
        right += score(i) > score(j) ? 1 : score(i) == score(j) ? 0.5 : 0;
      }
    EXPECT_GT(all, 0);
    return right / all;
  }
  auto score_of(size_t side) const {
    return [this, side](size_t i) { return input_.scores[i].harm[side]; };
  }

  Estimate metric(const std::string& name) {
    if (metrics_.empty()) metrics_ = guard_metrics(input_, "");
    for (const auto& [key, estimate] : metrics_)
      if (key == name) return estimate;
    ADD_FAILURE() << "no metric " << name;
    return {};
  }
  void expect(const std::string& name, double value) {
    const Estimate e = metric(name);
    EXPECT_NEAR(e.value, value, 1e-9) << name;
    EXPECT_LE(e.low, e.value) << name;
    EXPECT_GE(e.high, e.value) << name;
    EXPECT_LT(e.high - e.low, 0.6) << name;
    EXPECT_GT(e.high - e.low, 0) << name;
  }

  Random random_;
  GuardEvaluation input_;
  NamedEstimates metrics_;
};

TEST_F(GuardMetrics, ImplicitPairsAreJudgedByThePairOnEverySide) {
  const auto is = [&](bool harmful, const std::string& wording = "") {
    return [this, harmful, wording](size_t i) {
      return kind(i) == "implicit" && graded(i, "implicit") == harmful &&
             (wording.empty() || attribute(i, "wording") == wording);
    };
  };
  expect("implicit.image.auroc", auroc(is(true), is(false), score_of(0)));
  expect("implicit.text.auroc", auroc(is(true), is(false), score_of(1)));
  expect("implicit.joint.auroc", auroc(is(true), is(false), score_of(2)));
  expect("implicit.seen_wording.joint.auroc",
         auroc(is(true, "seen"), is(false, "seen"), score_of(2)));
  expect("implicit.new_wording.joint.auroc", auroc(is(true, "new"), is(false, "new"), score_of(2)));
}

TEST_F(GuardMetrics, ImplicitPairsWithoutKindsStandAgainstAllBenignOnes) {
  for (auto& sample : input_.samples) sample.attributes.erase("kind");
  expect("implicit.joint.auroc",
         auroc([&](size_t i) { return graded(i, "implicit"); },
               [&](size_t i) { return !harmful_pair(i) && !input_.samples[i].image.empty(); },
               score_of(2)));
}

TEST_F(GuardMetrics, ExplicitAndContext) {
  const auto plain = [&](size_t i) {
    return kind(i) == "safe" || kind(i) == "explicit" || kind(i) == "one_sided";
  };
  expect("explicit.joint.auroc",
         auroc([&](size_t i) { return plain(i) && graded(i, "explicit"); },
               [&](size_t i) { return plain(i) && !graded(i, "explicit"); }, score_of(2)));
  // A harmless image with a harmful text is benign to the image's own score.
  const auto shows = [&](size_t i) {
    return plain(i) && graded(i, "explicit") && attribute(i, "unsafe_side") != "text";
  };
  expect("explicit.image.auroc",
         auroc(
             shows, [&](size_t i) { return plain(i) && !shows(i); }, score_of(0)));
  // The same thing shown, harmful or harmless in its context.
  expect("context.joint.auroc",
         auroc(
             shows, [&](size_t i) { return kind(i) == "context"; }, score_of(2)));
}

TEST_F(GuardMetrics, ContradictionsByKind) {
  const auto matches = [&](size_t i) { return kind(i) == "safe" || kind(i) == "explicit"; };
  const auto swapped = [&](size_t i) { return kind(i) == "contradiction"; };
  const auto one_sided = [&](size_t i) { return kind(i) == "one_sided"; };
  const auto doubt = [&](size_t i) { return input_.scores[i].contradiction; };
  expect("contradiction.auroc", auroc(swapped, matches, doubt));
  expect("contradiction.one_sided.auroc", auroc(one_sided, matches, doubt));
  expect("contradiction.cosine.auroc",
         auroc(swapped, matches, [&](size_t i) { return -input_.scores[i].cosine; }));
}

TEST_F(GuardMetrics, ConsistencyOfVerdictsAndOfBrokenPairs) {
  double matched = 0, agree = 0, broken = 0, found = 0;
  for (size_t i = 0; i < input_.samples.size(); ++i) {
    const auto& row = input_.scores[i];
    if (kind(i) == "safe" || kind(i) == "explicit") {
      matched += 1;
      agree += (row.harm[0] >= 0.8) == (row.harm[1] >= 0.7);
    }
    if (std::isnan(row.broken_pair)) continue;
    broken += 1;
    found += row.broken_pair >= 0.75;
  }
  ASSERT_EQ(matched, 90);
  ASSERT_EQ(broken, 50);
  expect("consistency.agreement", agree / matched);
  expect("consistency.broken_pair.recall", found / broken);
}

TEST_F(GuardMetrics, DeployedThresholdsAndTheReviewBand) {
  double harmful = 0, benign = 0, caught = 0, alarms = 0, missed = 0, hit = 0, review = 0;
  double right = 0;
  for (size_t i = 0; i < input_.samples.size(); ++i) {
    const double score = input_.scores[i].harm[2];
    if (std::isnan(score)) continue;
    const bool label = harmful_pair(i);
    (label ? harmful : benign) += 1;
    right += (score >= 0.55) == label;
    caught += label && score >= 0.75;
    alarms += !label && score >= 0.75;
    missed += label && score < 0.2;
    hit += !label && score >= 0.85;
    review += score >= 0.2 && score < 0.85;
  }
  expect("joint.accuracy", right / (harmful + benign));
  expect("joint.deployed.recall", caught / harmful);
  expect("joint.deployed.fpr", alarms / benign);
  expect("conformal.miss_rate", missed / harmful);
  expect("conformal.alarm_rate", hit / benign);
  expect("conformal.review_share", review / (harmful + benign));
}

TEST_F(GuardMetrics, CalibrationAndMacroF1OfThePair) {
  ScoredItems items;
  double f1 = 0;
  for (const size_t c : {size_t{0}, size_t{1}}) {
    const double threshold = c == 0 ? 0.45 : 0.65;
    double both = 0, called = 0, labelled = 0;
    for (size_t i = 0; i < input_.samples.size(); ++i) {
      if (input_.scores[i].categories[2].empty()) continue;
      const std::string& grade = input_.samples[i].labels.at(c == 0 ? "fire" : "weapon");
      const bool label = grade == "explicit" || grade == "implicit";
      const bool call = input_.scores[i].categories[2][c] >= threshold;
      both += label && call;
      called += call;
      labelled += label;
      if (c == 0) items.add(input_.scores[i].harm[2], harmful_pair(i));
    }
    f1 += 2 * both / (called + labelled) / 2;
  }
  expect("joint.macro_f1", f1);
  EXPECT_NEAR(metric("ece").value, expected_calibration_error(items, 15), 1e-12);
  EXPECT_NEAR(metric("brier").value, brier_score(items), 1e-12);
}

TEST_F(GuardMetrics, WhatCannotBeMeasuredIsLeftOut) {
  for (const auto& [name, estimate] : guard_metrics(input_, "held_style."))
    EXPECT_TRUE(name.starts_with("held_style.")) << name;
  for (auto& sample : input_.samples) {
    sample.labels = {{"fire", "none"}};
    sample.attributes.clear();
  }
  EXPECT_TRUE(guard_metrics(input_, "").empty());
  EXPECT_TRUE(guard_plots(input_).empty());
}

const Table& table_named(const std::vector<Table>& tables, const std::string& name) {
  for (const auto& table : tables)
    if (table.name == name) return table;
  throw std::runtime_error("no table " + name);
}

TEST_F(GuardMetrics, CellsCountVerdictsAtTheDeployedThresholds) {
  const auto tables = guard_tables(input_);
  const Table& cells = table_named(tables, "cells");
  bool seen = false;
  for (const auto& row : cells.rows) {
    if (std::get<std::string>(row[0]) != "safe image + safe text = unsafe") continue;
    seen = true;
    double n = 0, image = 0, text = 0, either = 0, joint = 0;
    for (size_t i = 0; i < input_.samples.size(); ++i) {
      if (!graded(i, "implicit")) continue;
      const auto& harm = input_.scores[i].harm;
      n += 1;
      image += harm[0] >= 0.8;
      text += harm[1] >= 0.7;
      either += harm[0] >= 0.8 || harm[1] >= 0.7;
      joint += harm[2] >= 0.75;
    }
    EXPECT_EQ(std::get<std::string>(row[1]), "40");
    const double expected[] = {1, image / n, text / n, either / n, joint / n};
    for (size_t k = 0; k < 5; ++k)
      EXPECT_NEAR(std::get<Estimate>(row[k + 2]).value, expected[k], 1e-12) << cells.columns[k + 2];
  }
  EXPECT_TRUE(seen);
}

TEST_F(GuardMetrics, FairnessTableCountsErrorsPerGroup) {
  const auto tables = guard_tables(input_);
  const Table& table = table_named(tables, "fairness_language");
  ASSERT_EQ(table.rows.size(), 3u);
  for (const size_t g : {size_t{0}, size_t{1}}) {
    const std::string language = g == 0 ? "de" : "en";
    EXPECT_EQ(std::get<std::string>(table.rows[g][0]), language);
    double harmful = 0, benign = 0, missed = 0, alarms = 0;
    for (size_t i = 0; i < input_.samples.size(); ++i) {
      if (attribute(i, "language") != language) continue;
      const bool called = input_.scores[i].harm[2] >= 0.75;
      (harmful_pair(i) ? harmful : benign) += 1;
      missed += harmful_pair(i) && !called;
      alarms += !harmful_pair(i) && called;
    }
    EXPECT_NEAR(std::get<Estimate>(table.rows[g][5]).value, alarms / benign, 1e-12);
    EXPECT_NEAR(std::get<Estimate>(table.rows[g][6]).value, missed / harmful, 1e-12);
    const auto in = [&, language](bool member, bool label) {
      return [&, language, member, label](size_t i) {
        return !std::isnan(input_.scores[i].harm[2]) &&
               (attribute(i, "language") == language) == member && harmful_pair(i) == label;
      };
    };
    const auto auc = [&](size_t column) { return std::get<Estimate>(table.rows[g][column]).value; };
    EXPECT_NEAR(auc(2), auroc(in(true, true), in(true, false), score_of(2)), 1e-9);
    EXPECT_NEAR(auc(3), auroc(in(false, true), in(true, false), score_of(2)), 1e-9);  // BPSN
    EXPECT_NEAR(auc(4), auroc(in(true, true), in(false, false), score_of(2)), 1e-9);  // BNSP
  }
}

TEST_F(GuardMetrics, PlotsShowWhatTheMetricsSay) {
  const auto plots = guard_plots(input_);
  ASSERT_EQ(plots.size(), 3u);
  EXPECT_EQ(plots[0].curves.size(), 3u);
  // The last point of a ROC curve is (1, 1); recall never falls with the false alarms allowed.
  for (const Curve& curve : plots[0].curves) {
    EXPECT_DOUBLE_EQ(curve.points.back().first, 1);
    EXPECT_DOUBLE_EQ(curve.points.back().second, 1);
    for (size_t i = 1; i < curve.points.size(); ++i)
      EXPECT_GE(curve.points[i].second, curve.points[i - 1].second);
  }
  EXPECT_EQ(plots[2].curves.size(), 2u);  // the head and the cosine alone
}

}  // namespace
}  // namespace parapet

#include "parapet/training/early_stopping.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"

namespace parapet {
namespace {

const Selection kRecall = {"recall", true}, kLoss = {"loss", false};

struct Row {
  double loss, recall;
  bool best, stop;
};

TEST(EarlyStopping, PatienceShrinksOnlyWhenNeitherImproves) {
  EarlyStopping stopping(2, kRecall);
  const std::vector<Row> table = {
      {1.0, 0.50, true, false},   // first
      {0.9, 0.40, false, false},  // loss better: patience full, but not the best recall
      {1.1, 0.60, true, false},   // recall better although the loss is worse
      {1.2, 0.60, false, false},  // neither (equal is not better): 1 of 2
      {0.8, 0.10, false, false},  // loss better: full again
      {0.8, 0.60, false, false},  // neither: 1 of 2
      {0.9, 0.59, false, true},   // neither: 2 of 2
  };
  for (size_t i = 0; i < table.size(); ++i) {
    const auto verdict = stopping.update(static_cast<int64_t>(10 * i),
                                         {{"loss", table[i].loss}, {"recall", table[i].recall}});
    EXPECT_EQ(verdict.best, table[i].best) << "row " << i;
    EXPECT_EQ(verdict.stop, table[i].stop) << "row " << i;
  }
  EXPECT_EQ(stopping.best_step(), 20);
  EXPECT_EQ(stopping.best().at("recall"), 0.60);
}

TEST(EarlyStopping, TheLossAloneDecides) {
  EarlyStopping stopping(1, kLoss);
  EXPECT_TRUE(stopping.update(1, {{"loss", 2.0}}).best);
  EXPECT_TRUE(stopping.update(2, {{"loss", 1.0}}).best);
  const auto verdict = stopping.update(3, {{"loss", 1.5}});
  EXPECT_FALSE(verdict.best);
  EXPECT_TRUE(verdict.stop);
  EXPECT_EQ(stopping.best_step(), 2);
}

// A metric of another name and direction, without any loss.
TEST(EarlyStopping, FollowsTheSelectedMetric) {
  EarlyStopping stopping(1, {"perplexity", false});
  EXPECT_TRUE(stopping.update(1, {{"perplexity", 9.0}, {"recall", 0.1}}).best);
  EXPECT_TRUE(stopping.update(2, {{"perplexity", 8.0}, {"recall", 0.0}}).best);
  const auto verdict = stopping.update(3, {{"perplexity", 8.5}, {"recall", 1.0}});
  EXPECT_FALSE(verdict.best);
  EXPECT_TRUE(verdict.stop);
}

TEST(EarlyStopping, PatienceZeroNeverStops) {
  EarlyStopping stopping(0, kLoss);
  for (int64_t i = 0; i < 20; ++i) EXPECT_FALSE(stopping.update(i, {{"loss", double(i)}}).stop);
}

TEST(EarlyStopping, StateRestoresMidCount) {
  EarlyStopping first(2, kRecall), second(2, kRecall);
  first.update(1, {{"loss", 1.0}, {"recall", 0.5}});
  first.update(2, {{"loss", 1.0}, {"recall", 0.5}});
  second.restore(nlohmann::json::parse(first.state().dump()));
  EXPECT_EQ(second.best_step(), 1);
  EXPECT_TRUE(second.update(3, {{"loss", 1.1}, {"recall", 0.4}}).stop);
}

TEST(EarlyStopping, RejectsBadMetrics) {
  EarlyStopping stopping(2, kLoss);
  EXPECT_THROW(stopping.update(1, {{"recall", 0.5}}), Error);
  EXPECT_THROW(stopping.update(1, {{"loss", std::nan("")}}), CheckFailed);
}

}  // namespace
}  // namespace parapet

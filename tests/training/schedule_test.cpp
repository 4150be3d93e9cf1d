#include "parapet/training/schedule.h"

#include <gtest/gtest.h>

#include "parapet/core/error.h"

namespace parapet {
namespace {

TrainerOptions schedule(const std::string& kind, int64_t warmup, double final_lr) {
  TrainerOptions options;
  options.lr = 2.0;
  options.max_steps = 110;
  options.warmup_steps = warmup;
  options.schedule = kind;
  options.final_lr = final_lr;
  return options;
}

TEST(Schedule, WarmsUpLinearlyToThePeak) {
  const auto options = schedule("constant", 10, 0);
  EXPECT_DOUBLE_EQ(learning_rate(options, 0), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(options, 4), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(options, 9), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(options, 10), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(options, 109), 2.0);
}

TEST(Schedule, CosineFallsFromPeakToFinal) {
  const auto options = schedule("cosine", 10, 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(options, 10), 2.0);
  EXPECT_NEAR(learning_rate(options, 60), 2.0 * (0.1 + 0.9 * 0.5), 1e-12);
  EXPECT_NEAR(learning_rate(options, 35), 2.0 * (0.1 + 0.9 * 0.5 * (1 + std::sqrt(0.5))), 1e-12);
  EXPECT_NEAR(learning_rate(options, 110), 0.2, 1e-12);
  EXPECT_NEAR(learning_rate(options, 500), 0.2, 1e-12) << "stays at the end";
}

TEST(Schedule, WithoutWarmUpStartsAtThePeak) {
  EXPECT_DOUBLE_EQ(learning_rate(schedule("cosine", 0, 0), 0), 2.0);
}

TEST(TrainerOptions, ReportsEveryBadFieldAtOnce) {
  TrainerOptions options;
  options.max_steps = 0;
  options.lr = -1;
  options.schedule = "linear";
  options.patience = 3;
  Problems problems;
  options.validate(problems);
  try {
    problems.throw_if_any("options");
    FAIL();
  } catch (const UsageError& error) {
    const std::string text = error.what();
    for (const char* field : {"max-steps", "lr", "schedule", "patience"})
      EXPECT_NE(text.find(field), std::string::npos) << field << " in: " << text;
  }
}

}  // namespace
}  // namespace parapet

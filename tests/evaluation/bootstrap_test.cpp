#include "parapet/evaluation/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>

#include "parapet/core/error.h"
#include "parapet/core/random.h"

namespace parapet {
namespace {

TEST(Wilson, EqualsPublishedValues) {
  // 81 of 263: 0.2553, 0.3662 (Newcombe 1998, table I, method 3).
  const Estimate e = wilson_share(81, 263);
  EXPECT_NEAR(e.value, 81.0 / 263, 1e-12);
  EXPECT_NEAR(e.low, 0.2553, 5e-5);
  EXPECT_NEAR(e.high, 0.3662, 5e-5);
  EXPECT_EQ(wilson_share(0, 20).low, 0.0);
  EXPECT_NEAR(wilson_share(0, 20).high, 0.1611, 5e-5);
  EXPECT_TRUE(std::isnan(wilson_share(0, 0).value));
}

TEST(Bootstrap, WidthMatchesTheNormalApproximation) {
  at::manual_seed(1);
  const at::Tensor x = at::randn({1, 2000}) * 3 + 50;
  const Estimate e = bootstrap_means(x)[0];
  const double expected = 1.96 * x.std().item<double>() / std::sqrt(2000.0);
  EXPECT_NEAR(e.value, x.to(at::kDouble).mean().item<double>(), 1e-6);
  EXPECT_NEAR((e.high - e.low) / 2, expected, 0.1 * expected);
  EXPECT_EQ(e.n, 2000);
}

TEST(Bootstrap, CoversTheTruthAboutAsOftenAsItSays) {
  // 200 samples of 100 coin tosses with p = 0.3.
  Random random(7);
  int covered = 0;
  for (int trial = 0; trial < 200; ++trial) {
    at::Tensor x = at::zeros({1, 100});
    for (int64_t i = 0; i < 100; ++i) x[0][i] = random.chance(0.3) ? 1.0 : 0.0;
    BootstrapOptions options;
    options.resamples = 400;
    options.seed = static_cast<uint64_t>(trial);
    const Estimate e = bootstrap_means(x, options)[0];
    covered += e.low <= 0.3 && 0.3 <= e.high;
  }
  EXPECT_GE(covered, 180);
  EXPECT_LE(covered, 199);
}

TEST(Bootstrap, SameSeedSameBoundsOtherSeedOthers) {
  at::manual_seed(2);
  const at::Tensor x = at::rand({2, 300});
  BootstrapOptions other;
  other.seed = 9;
  EXPECT_EQ(bootstrap_means(x)[1].low, bootstrap_means(x)[1].low);
  EXPECT_NE(bootstrap_means(x)[1].low, bootstrap_means(x, other)[1].low);
}

TEST(Bootstrap, AllHitsStillHaveAnInterval) {
  const Estimate e = bootstrap_means(at::ones({1, 50}))[0];
  EXPECT_EQ(e.value, 1.0);
  EXPECT_EQ(e.high, 1.0);
  EXPECT_LT(e.low, 0.95);
}

TEST(Bootstrap, EmptyAndBadValues) {
  EXPECT_EQ(bootstrap_means(at::empty({2, 0}))[1].n, 0);
  EXPECT_THROW(bootstrap_means(at::full({1, 3}, std::nan(""))), DataError);
  BootstrapOptions options;
  options.level = 1;
  EXPECT_THROW(bootstrap_means(at::ones({1, 3}), options), UsageError);
}

}  // namespace
}  // namespace parapet

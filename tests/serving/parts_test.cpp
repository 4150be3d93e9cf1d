// API keys, metrics, worker pool.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/serving/api_keys.h"
#include "parapet/serving/metrics.h"
#include "parapet/serving/worker_pool.h"

namespace parapet::serving {
namespace {

using testing::HasSubstr;

TEST(ApiKeys, FindsByHashOnly) {
  const auto keys = ApiKeys::parse("# ours\nalice " + sha256_hex("secret") + " team\n\nbob " +
                                       sha256_hex("other") + "  # until May\n",
                                   "keys");
  ASSERT_NE(keys.find("secret"), nullptr);
  EXPECT_EQ(keys.find("secret")->name, "alice");
  EXPECT_EQ(keys.find("secret")->tenant, "team");
  EXPECT_EQ(keys.find("other")->name, "bob");
  EXPECT_EQ(keys.find(""), nullptr);
  EXPECT_EQ(keys.find("secret "), nullptr);
  EXPECT_EQ(keys.find(sha256_hex("secret")), nullptr);
}

TEST(ApiKeys, RefusesBadFilesLineByLine) {
  try {
    ApiKeys::parse("alice secret\nbob " + sha256_hex("x") + " t extra\n", "keys");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("keys:1"));
    EXPECT_THAT(error.what(), HasSubstr("keys:2"));
    EXPECT_THAT(error.what(), HasSubstr("holds no key"));
  }
  EXPECT_THROW(ApiKeys::load("/nowhere/keys"), UsageError);
}

TEST(Metrics, HistogramsAreCumulativeFromOneMillisecond) {
  Histogram histogram;
  for (const double seconds : {0.0005, 0.001, 0.004, 99.0}) histogram.add(seconds);
  std::string text;
  histogram.write(text, "t", "a=\"b\"");
  EXPECT_THAT(text, HasSubstr("t_bucket{a=\"b\",le=\"0.001\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("t_bucket{a=\"b\",le=\"0.005\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("t_bucket{a=\"b\",le=\"10\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("t_bucket{a=\"b\",le=\"+Inf\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("t_count{a=\"b\"} 4\n"));
}

TEST(Metrics, CountsDecisionsAndEscapesLabels) {
  Metrics metrics;
  guard::Decision decision;
  decision.action = guard::Action::kBlock;
  decision.complete = false;
  guard::CategoryResult category;
  category.category = "weapon";
  category.action = guard::Action::kBlock;
  category.decided_by = guard::Modality::kImage;
  decision.categories.push_back(category);
  guard::ScanFailure failure;
  failure.reason = "bad_image";
  decision.not_scanned.push_back(failure);
  decision.timings.push_back({"hash", 2.5});
  metrics.decision("/v1/guard", decision);
  metrics.request("/v1/guard", 200, 0.004);
  const std::string text =
      metrics.text({{"g", "h", "gauge", metric_labels({{"x", "a\"\\\nb"}}), 2}});
  EXPECT_THAT(text, HasSubstr("parapet_flagged_total{category=\"weapon\",modality=\"image\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("parapet_scan_failures_total{reason=\"bad_image\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("parapet_stage_seconds_bucket{stage=\"hash\",le=\"0.003\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("g{x=\"a\\\"\\\\\\nb\"} 2\n"));
}

TEST(WorkerPool, RefusesWhenFullAndServesAgain) {
  WorkerPool pool(1, 1);
  std::promise<void> started, release;
  auto gate = release.get_future().share();
  ASSERT_TRUE(pool.submit([&, gate] {
    started.set_value();
    gate.wait();
  }));
  started.get_future().wait();
  std::atomic<int> done{0};
  EXPECT_TRUE(pool.submit([&] { ++done; }));
  EXPECT_FALSE(pool.submit([&] { ++done; }));
  EXPECT_EQ(pool.waiting(), 1);
  EXPECT_GT(pool.stalled_seconds(), 0);
  release.set_value();
  while (done == 0) std::this_thread::yield();
  EXPECT_TRUE(pool.submit([&] { ++done; }));
  while (done < 2 || pool.running() > 0) std::this_thread::yield();
  EXPECT_EQ(pool.stalled_seconds(), 0);
  pool.stop();
  EXPECT_FALSE(pool.submit([&] { ++done; }));
}

}  // namespace
}  // namespace parapet::serving

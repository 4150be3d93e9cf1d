#include "parapet/evaluation/topk.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "parapet/core/error.h"
#include "parapet/evaluation/int8_filter.h"

namespace parapet {
namespace {

at::Tensor unit_rows(int64_t n, int64_t d, uint64_t seed) {
  at::manual_seed(seed);
  const at::Tensor x = at::randn({n, d});
  return x / x.norm(2, 1, true);
}

// A full matrix in double, sorted by (score, lower index), the excluded column removed.
at::Tensor naive(const at::Tensor& q, const at::Tensor& g, int64_t k, const at::Tensor& exclude) {
  // One query at a time, row by row: a matrix product may round equal rows differently, depending
  // on where in a block of its kernel they lie.
  std::vector<at::Tensor> rows;
  for (int64_t i = 0; i < q.size(0); ++i)
    rows.push_back((g.to(at::kDouble) * q[i].to(at::kDouble)).sum(1));
  at::Tensor scores = at::stack(rows);
  for (int64_t i = 0; exclude.defined() && i < q.size(0); ++i)
    if (exclude[i].item<int64_t>() >= 0)
      scores[i][exclude[i].item<int64_t>()] = -std::numeric_limits<double>::infinity();
  return std::get<1>(at::sort(scores, /*stable=*/true, /*dim=*/1, /*descending=*/true))
      .narrow(1, 0, k);
}

class Filters : public ::testing::TestWithParam<const char*> {};

TEST_P(Filters, EqualsTheFullComputationWhenBlocksDoNotDivide) {
  for (const int64_t d : {5, 64, 131}) {
    const at::Tensor q = unit_rows(205, d, 1), g = unit_rows(1501, d, 2);
    TopKOptions options;
    options.filter = GetParam();
    options.query_block = 32;
    options.gallery_block = 100;
    const TopK found = top_k(q, g, 21, options);
    EXPECT_TRUE(at::equal(found.indices, naive(q, g, 21, {}))) << "width " << d;
    const at::Tensor scores = at::mm(q, g.t()).gather(1, found.indices);
    EXPECT_TRUE(at::allclose(found.scores, scores, 1e-5, 1e-6));
    EXPECT_EQ(found.stats.pairs, 205 * 1501);
  }
}

TEST_P(Filters, EqualScoresGoToTheLowerIndex) {
  // Every gallery row appears four times, far apart.
  const at::Tensor q = unit_rows(100, 32, 3);
  const at::Tensor g = unit_rows(200, 32, 4).repeat({4, 1});
  TopKOptions options;
  options.filter = GetParam();
  const TopK found = top_k(q, g, 8, options);
  EXPECT_TRUE(at::equal(found.indices, naive(q, g, 8, {})));
  EXPECT_EQ(found.indices[0][1].item<int64_t>(), found.indices[0][0].item<int64_t>() + 200);
}

TEST_P(Filters, LeavesTheExcludedRowOut) {
  const at::Tensor g = unit_rows(700, 48, 5);
  const at::Tensor q = g.narrow(0, 0, 120).clone();  // each query's best is itself
  at::Tensor exclude = at::arange(120, at::kLong);
  exclude.narrow(0, 0, 10).fill_(-1);
  TopKOptions options;
  options.filter = GetParam();
  options.exclude = exclude;
  const TopK found = top_k(q, g, 5, options);
  EXPECT_TRUE(at::equal(found.indices, naive(q, g, 5, exclude)));
  EXPECT_EQ(found.indices[3][0].item<int64_t>(), 3);
  EXPECT_NE(found.indices[50][0].item<int64_t>(), 50);
}

TEST_P(Filters, HoldsOnNearCopiesWithLargeConstantDimensions) {
  // As CLIP embeddings: a few huge shared dimensions, items that differ little.
  at::manual_seed(6);
  const at::Tensor base = at::randn({1, 96});
  at::Tensor offset = at::zeros({1, 96});
  offset[0][7] = 40;
  offset[0][50] = -25;
  const at::Tensor q = offset + base + at::randn({150, 96}) * 0.05;
  const at::Tensor g = offset - base + at::randn({2000, 96}) * 0.05;
  TopKOptions options;
  options.filter = GetParam();
  EXPECT_TRUE(at::equal(top_k(q, g, 10, options).indices, naive(q, g, 10, {})));
}

TEST_P(Filters, CollapsedGalleryStillGivesTheLowestIndices) {
  const at::Tensor q = unit_rows(100, 16, 7);
  const at::Tensor g = unit_rows(1, 16, 8).repeat({9000, 1});
  TopKOptions options;
  options.filter = GetParam();
  const TopK found = top_k(q, g, 4, options);
  EXPECT_TRUE(at::equal(found.indices, at::arange(4, at::kLong).expand({100, 4})));
}

INSTANTIATE_TEST_SUITE_P(TopK, Filters, ::testing::Values("auto", "int8", "fp32"),
                         [](const auto& test) { return std::string(test.param); });

TEST(TopK, The8BitFilterDecidesMostPairs) {
  if (!Int8Gallery::supported(256)) GTEST_SKIP() << "no AVX-512 VNNI here";
  const TopK found = top_k(unit_rows(200, 256, 9), unit_rows(20000, 256, 10), 20);
  EXPECT_EQ(found.stats.int8_pairs, 200 * 20000);
  EXPECT_LT(found.stats.rescored, found.stats.pairs / 10);
}

TEST(TopK, ResultDoesNotDependOnThreads) {
  const at::Tensor q = unit_rows(130, 40, 11), g = unit_rows(900, 40, 12);
  const int threads = at::get_num_threads();
  const TopK many = top_k(q, g, 7);
  at::set_num_threads(1);
  const TopK one = top_k(q, g, 7);
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(many.indices, one.indices));
  EXPECT_TRUE(at::equal(many.scores, one.scores));
}

TEST(TopK, ExclusionMayLeaveFewerThanK) {
  TopKOptions options;
  options.exclude = at::zeros({1}, at::kLong);
  const TopK found = top_k(unit_rows(1, 8, 13), unit_rows(2, 8, 14), 2, options);
  EXPECT_EQ(found.indices[0][0].item<int64_t>(), 1);
  EXPECT_EQ(found.indices[0][1].item<int64_t>(), -1);
}

TEST(TopK, NamesBadInput) {
  const at::Tensor good = unit_rows(4, 8, 15);
  at::Tensor bad = good.clone();
  bad[2][3] = std::nan("");
  try {
    top_k(good, bad, 1);
    FAIL() << "NaN accepted";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("gallery: row 2"), std::string::npos) << error.what();
  }
  EXPECT_THROW(top_k(bad, good, 1), DataError);
  EXPECT_THROW(top_k(good, at::empty({0, 8}), 1), DataError);
  EXPECT_THROW(top_k(good, unit_rows(4, 7, 16), 1), DataError);
  EXPECT_THROW(top_k(good, good, 5), UsageError);
  EXPECT_THROW(top_k(good, good, 0), UsageError);
  TopKOptions options;
  options.filter = "fast";
  EXPECT_THROW(top_k(good, good, 1, options), UsageError);
  EXPECT_EQ(top_k(at::empty({0, 8}), good, 2).indices.size(0), 0);
}

TEST(RankOf, EqualsThePositionInTheFullOrder) {
  const at::Tensor q = unit_rows(90, 24, 17);
  const at::Tensor g = unit_rows(300, 24, 18).repeat({2, 1});
  at::manual_seed(19);
  const at::Tensor targets = at::randint(600, {90}, at::kLong);
  at::Tensor exclude = at::randint(600, {90}, at::kLong);
  for (int64_t i = 0; i < 90; ++i)
    if (exclude[i].item<int64_t>() == targets[i].item<int64_t>()) exclude[i] = -1;
  TopKOptions options;
  options.gallery_block = 70;
  options.query_block = 16;
  options.exclude = exclude;
  const at::Tensor ranks = rank_of(q, g, targets, options);
  const at::Tensor order = naive(q, g, 600, exclude);
  for (int64_t i = 0; i < 90; ++i)
    EXPECT_EQ(order[i][ranks[i].item<int64_t>()].item<int64_t>(), targets[i].item<int64_t>());
}

TEST(RankOf, NoTargetRanksLastAndBadTargetsAreRefused) {
  const at::Tensor q = unit_rows(2, 8, 20), g = unit_rows(5, 8, 21);
  EXPECT_EQ(rank_of(q, g, at::full({2}, -1, at::kLong))[1].item<int64_t>(), 5);
  EXPECT_THROW(rank_of(q, g, at::full({2}, 5, at::kLong)), UsageError);
  EXPECT_THROW(rank_of(q, g, at::zeros({3}, at::kLong)), UsageError);
}

}  // namespace
}  // namespace parapet

#include "parapet/nn/kv_cache.h"

#include <c10/core/InferenceMode.h>

#include "nn/nn_goldens.h"
#include "parapet/core/error.h"

namespace parapet::nn::test {
namespace {

at::Tensor tokens(int64_t count, double first) {
  return at::arange(count, at::kFloat).add_(first).view({1, 1, count, 1}).repeat({2, 3, 1, 4});
}

TEST(KvCache, AppendsGrowsAndForgets) {
  KvCache cache(2, 0, 4);
  EXPECT_EQ(cache.length(), 0);
  EXPECT_EQ(cache.batch(), 0);
  for (int64_t layer = 0; layer < 2; ++layer) cache.append(layer, tokens(3, 0), tokens(3, 100));
  EXPECT_EQ(cache.length(), 3);
  EXPECT_EQ(cache.batch(), 2);
  EXPECT_EQ(cache.bytes(), 2 * 2 * (2 * 3 * 4 * 4) * 4);  // layers, k and v, [2, 3, 4, 4], float
  const auto [k, v] = cache.append(0, tokens(9, 3), tokens(9, 103));
  EXPECT_TRUE(at::equal(k, tokens(12, 0)));
  EXPECT_TRUE(at::equal(v, tokens(12, 100)));
  EXPECT_EQ(cache.length(), 3);  // the other layer has not seen them
  cache.truncate(cache.length());
  const auto [again, values] = cache.append(0, tokens(1, 50), tokens(1, 60));
  EXPECT_TRUE(at::equal(again, at::cat({tokens(3, 0), tokens(1, 50)}, 2)));
}

TEST(KvCache, ReordersAndDropsRows) {
  KvCache cache(1);
  at::Tensor k = tokens(2, 0);
  k[1].add_(10);
  cache.append(0, k, k);
  cache.reorder(at::tensor(std::vector<int64_t>{1, 1, 0}, at::kLong));
  EXPECT_EQ(cache.batch(), 3);
  cache.reorder(at::tensor(std::vector<int64_t>{2}, at::kLong));
  const auto [held, values] = cache.append(0, k.slice(0, 0, 1), k.slice(0, 0, 1));
  EXPECT_TRUE(at::equal(held, at::cat({k.slice(0, 0, 1), k.slice(0, 0, 1)}, 2)));
}

TEST(KvCache, TheContextIsItsLimit) {
  KvCache cache(1, 5, 4);
  cache.append(0, tokens(4, 0), tokens(4, 0));
  try {
    cache.append(0, tokens(2, 0), tokens(2, 0));
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("6 tokens"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("5 tokens"), std::string::npos) << error.what();
  }
  EXPECT_EQ(cache.length(), 4);
  cache.append(0, tokens(1, 4), tokens(1, 4));
  EXPECT_EQ(cache.length(), 5);
}

TEST(KvCache, WorksInAndOutOfInferenceMode) {
  KvCache cache(1, 0, 1);
  {
    const c10::InferenceMode inference;
    cache.append(0, tokens(2, 0), tokens(2, 0));
    cache.reorder(at::tensor(std::vector<int64_t>{0, 1}, at::kLong));
  }
  const auto [k, v] = cache.append(0, tokens(2, 2), tokens(2, 2));
  EXPECT_TRUE(at::equal(k, tokens(4, 0)));
}

TEST(KvCache, RefusesWhatDoesNotContinueIt) {
  KvCache cache(1);
  cache.append(0, tokens(2, 0), tokens(2, 0));
  EXPECT_THROW(cache.append(0, tokens(1, 0).slice(0, 0, 1), tokens(1, 0).slice(0, 0, 1)), Error);
  EXPECT_THROW(cache.append(0, tokens(1, 0).to(at::kHalf), tokens(1, 0).to(at::kHalf)), Error);
  EXPECT_THROW(cache.append(0, tokens(1, 0), tokens(2, 0)), Error);
  EXPECT_THROW(cache.append(0, leaf(tokens(1, 0)), tokens(1, 0)), Error);
  const at::NoGradGuard no_grad;
  cache.append(0, leaf(tokens(1, 0)), tokens(1, 0));
  EXPECT_EQ(cache.length(), 3);
}

}  // namespace
}  // namespace parapet::nn::test

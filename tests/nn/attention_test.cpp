// Attention and its masks against `transformers`' eager attention, with masks written out there
// place by place.
#include "parapet/nn/attention.h"

#include "nn/nn_goldens.h"
#include "parapet/core/error.h"

namespace parapet::nn::test {
namespace {

constexpr double kClose = 2e-6;

struct MaskCase {
  const char* name;
  int64_t queries;
  bool causal;
  std::optional<int64_t> offset;
  const char* parts;  // letters: l lengths, s starts, g segments, a additive
  bool fused;         // needs no mask tensor
};

AttentionMask mask_of(const MaskCase& test, const Tensors& goldens) {
  const std::string parts = test.parts;
  AttentionMask mask{.causal = test.causal, .offset = test.offset};
  if (parts.find('l') != std::string::npos) mask.lengths = goldens.at("lengths");
  if (parts.find('s') != std::string::npos) mask.starts = goldens.at("starts");
  if (parts.find('g') != std::string::npos) mask.segments = goldens.at("segments");
  if (parts.find('a') != std::string::npos) mask.additive = goldens.at("additive");
  return mask;
}

class AttentionMasks : public ::testing::TestWithParam<MaskCase> {};

TEST_P(AttentionMasks, EqualTransformersWithGradients) {
  const MaskCase& test = GetParam();
  const Tensors goldens = golden("attention");
  const AttentionMask mask = mask_of(test, goldens);
  const at::Tensor q = leaf(goldens.at("q")), k = leaf(goldens.at("k")), v = leaf(goldens.at("v"));
  const at::Tensor queries = q.slice(2, q.size(2) - test.queries);
  EXPECT_EQ(mask.needs_no_tensor({2, 4, test.queries, 6}), test.fused);
  const at::Tensor out = attention(queries, k, v, mask);
  (out * goldens.at("dy").slice(2, q.size(2) - test.queries)).sum().backward();
  const std::string name = test.name;
  EXPECT_LT(apart(out, goldens.at(name + ".out")), kClose);
  EXPECT_LT(apart(q.grad(), goldens.at(name + ".grad.q")), kClose);
  EXPECT_LT(apart(k.grad(), goldens.at(name + ".grad.k")), kClose);
  EXPECT_LT(apart(v.grad(), goldens.at(name + ".grad.v")), kClose);
}

INSTANTIATE_TEST_SUITE_P(Attention, AttentionMasks,
                         ::testing::Values(MaskCase{"full", 6, false, {}, "", true},
                                           MaskCase{"causal", 6, true, {}, "", true},
                                           MaskCase{"last_queries", 2, true, {}, "", false},
                                           MaskCase{"offset", 3, true, 1, "", false},
                                           MaskCase{"lengths", 6, false, {}, "l", false},
                                           MaskCase{"causal_lengths", 6, true, {}, "l", false},
                                           MaskCase{"starts", 6, true, {}, "s", false},
                                           MaskCase{"segments", 6, false, {}, "g", false},
                                           MaskCase{"causal_segments", 6, true, {}, "g", false},
                                           MaskCase{"additive", 6, false, {}, "a", false},
                                           MaskCase{
                                               "causal_additive_lengths", 6, true, {}, "la", false},
                                           MaskCase{"one_query", 1, true, {}, "", true},
                                           MaskCase{"one_query_starts", 1, true, {}, "s", false}),
                         [](const auto& info) { return std::string(info.param.name); });

// Token by token over a cache, for a grouped head with and without padding on the left.
TEST(Attention, WithCacheEqualsWithout) {
  const Tensors goldens = golden("attention");
  const at::Tensor &q = goldens.at("q"), &k = goldens.at("k"), &v = goldens.at("v");
  for (const bool padded : {false, true}) {
    AttentionMask mask{.causal = true};
    if (padded) mask.starts = goldens.at("starts");
    KvCache cache(1, 0, 2);  // grows twice
    std::vector<at::Tensor> parts;
    for (const auto [begin, end] : {std::pair{0, 3}, {3, 4}, {4, 6}})
      parts.push_back(attention(q.slice(2, begin, end), k.slice(2, begin, end),
                                v.slice(2, begin, end), mask, &cache, 0));
    const std::string name = padded ? "starts.out" : "causal.out";
    EXPECT_LT(apart(at::cat(parts, 2), goldens.at(name)), kClose);
    EXPECT_EQ(cache.length(), 6);
  }
}

TEST(Attention, HalfTypesStayClose) {
  const Tensors goldens = golden("attention");
  const auto half = [&](const char* name) { return goldens.at(name).to(at::kBFloat16); };
  AttentionMask mask{.causal = true};
  mask.segments = goldens.at("segments");
  const at::Tensor out = attention(half("q"), half("k"), half("v"), mask);
  EXPECT_EQ(out.scalar_type(), at::kBFloat16);
  EXPECT_LT(apart(out, goldens.at("causal_segments.out")), 0.03);
}

TEST(Attention, HeadsThatDoNotDivideAreRefused) {
  const at::Tensor q = at::zeros({1, 3, 2, 4}), k = at::zeros({1, 2, 2, 4});
  EXPECT_THROW(attention(q, k, k, AttentionMask{}), Error);
}

std::string refusal(const AttentionMask& mask, const AttentionShape& shape) {
  try {
    mask.resolve(shape, at::TensorOptions().dtype(at::kFloat));
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(AttentionMask, PartsThatDoNotFitAreRefused) {
  const AttentionShape shape{2, 4, 3, 6};
  const auto whole = [](std::initializer_list<int64_t> list) {
    return at::tensor(std::vector<int64_t>(list), at::kLong);
  };
  EXPECT_NE(refusal({.lengths = whole({1, 2, 3})}, shape).find("lengths"), std::string::npos);
  EXPECT_NE(refusal({.lengths = whole({0, 2})}, shape).find("holds 0"), std::string::npos);
  EXPECT_NE(refusal({.lengths = whole({3, 7})}, shape).find("holds 7"), std::string::npos);
  EXPECT_NE(refusal({.starts = whole({-1, 0})}, shape).find("starts"), std::string::npos);
  EXPECT_NE(refusal({.lengths = whole({2, 3}), .starts = whole({2, 0})}, shape).find("- starts"),
            std::string::npos);
  EXPECT_NE(refusal({.segments = at::zeros({2, 5}, at::kLong)}, shape).find("segments"),
            std::string::npos);
  EXPECT_NE(refusal({.offset = 4, .segments = at::zeros({2, 6}, at::kLong)}, shape).find("place"),
            std::string::npos);
  EXPECT_NE(refusal({.additive = at::zeros({2, 3, 3, 6})}, shape).find("additive"),
            std::string::npos);
  EXPECT_NE(refusal({.causal = true}, {2, 4, 7, 6}).find("-1"), std::string::npos);
  EXPECT_EQ(refusal({.additive = at::zeros({1, 1, 1, 6})}, shape), "");
}

TEST(AttentionMask, PackedSequencesCountTheirOwnPlaces) {
  const at::Tensor cumulative = at::tensor(std::vector<int64_t>{0, 2, 2, 5}, at::kLong);
  const at::Tensor segments = segments_from_cumulative(cumulative);
  EXPECT_TRUE(
      at::equal(segments, at::tensor(std::vector<int64_t>{0, 0, 2, 2, 2}, at::kLong).unsqueeze(0)));
  EXPECT_TRUE(at::equal(positions_in_segments(segments),
                        at::tensor(std::vector<int64_t>{0, 1, 0, 1, 2}, at::kLong).unsqueeze(0)));
  EXPECT_TRUE(
      at::equal(positions_from_starts(at::tensor(std::vector<int64_t>{0, 3}, at::kLong), 2, 3),
                at::tensor(std::vector<int64_t>{2, 3, 4, 0, 0, 1}, at::kLong).view({2, 3})));
  EXPECT_THROW(segments_from_cumulative(at::tensor(std::vector<int64_t>{0, 3, 2}, at::kLong)),
               UsageError);
}

}  // namespace
}  // namespace parapet::nn::test

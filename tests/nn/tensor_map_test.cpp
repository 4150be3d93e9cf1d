#include "parapet/nn/tensor_map.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parapet/core/error.h"

namespace parapet::nn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

at::Tensor numbers(std::vector<int64_t> shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return at::arange(count, at::kFloat).view(shape);
}

std::vector<std::string> names(const NamedTensors& tensors) {
  std::vector<std::string> list;
  for (const auto& [name, tensor] : tensors) list.push_back(name);
  return list;
}

// The model's tensors; there must be no problems.
TensorDict load(const TensorMap& map, const TensorDict& file) {
  std::vector<std::string> problems;
  TensorDict model = map.to_model(file, problems);
  EXPECT_THAT(problems, IsEmpty());
  return model;
}

// What saving writes is what was loaded, bit for bit.
void expect_inverse(const TensorMap& map, const TensorDict& file) {
  const TensorDict model = load(map, file);
  const NamedTensors back = map.to_file({model.begin(), model.end()});
  ASSERT_EQ(back.size(), file.size());
  for (const auto& [name, tensor] : back) {
    ASSERT_TRUE(file.contains(name)) << name;
    EXPECT_TRUE(at::equal(tensor, file.at(name))) << name;
  }
}

TEST(TensorMap, NamesWithoutARuleStay) {
  const at::Tensor a = numbers({2});
  const TensorDict model = load(TensorMap(), {{"a.0.b", a}});
  EXPECT_TRUE(model.at("a.0.b").is_same(a));
}

TEST(TensorMap, RenamesByPatternInBothDirections) {
  const TensorMap map(
      {rename("blk.{}.norm.{}", "model.layers.{}.input_norm.{}"), rename("v.*", "vision.*")});
  const TensorDict file = {
      {"blk.10.norm.bias", numbers({2})}, {"v.a.b.c", numbers({3})}, {"other", numbers({1})}};
  const TensorDict model = load(map, file);
  EXPECT_EQ(model.size(), 3u);
  EXPECT_TRUE(model.contains("model.layers.10.input_norm.bias"));
  EXPECT_TRUE(model.contains("vision.a.b.c"));
  EXPECT_TRUE(model.contains("other"));
  EXPECT_THAT(map.file_names("model.layers.7.input_norm.weight"), ElementsAre("blk.7.norm.weight"));
  expect_inverse(map, file);
}

TEST(TensorMap, APartOfANameIsNotTwoParts) {
  const TensorMap map({rename("a.{}.c", "x.{}.c")});
  EXPECT_TRUE(load(map, {{"a.b.b.c", numbers({1})}}).contains("a.b.b.c"));
  EXPECT_TRUE(load(map, {{"a..c", numbers({1})}}).contains("a..c"));
}

TEST(TensorMap, SplitsStackedTensors) {
  const TensorMap equal({split("l.{}.qkv", {"l.{}.q", "l.{}.k", "l.{}.v"})});
  const TensorDict file = {{"l.0.qkv", numbers({6, 2})}, {"l.1.qkv", numbers({6, 2}) + 100}};
  const TensorDict model = load(equal, file);
  EXPECT_TRUE(at::equal(model.at("l.0.k"), numbers({6, 2}).slice(0, 2, 4)));
  expect_inverse(equal, file);
  // Grouped heads: fewer keys and values than queries; along another dimension too.
  const TensorMap grouped({split("qkv", {"q", "k", "v"}, 1, {4, 1, 1})});
  EXPECT_EQ(load(grouped, {{"qkv", numbers({2, 6})}}).at("q").sizes(), at::IntArrayRef({2, 4}));
  expect_inverse(grouped, {{"qkv", numbers({2, 6})}});
}

TEST(TensorMap, StacksPieces) {
  const TensorMap map({concat({"gate.{}", "up.{}"}, "gate_up.{}")});
  const TensorDict file = {{"gate.3", numbers({2, 2})}, {"up.3", numbers({2, 2}) + 9}};
  EXPECT_EQ(load(map, file).at("gate_up.3").sizes(), at::IntArrayRef({4, 2}));
  EXPECT_THAT(map.file_names("gate_up.3"), ElementsAre("gate.3", "up.3"));
  expect_inverse(map, file);
}

TEST(TensorMap, TransposesAndPermutes) {
  const TensorMap map({rename("proj", "linear.weight").transposed(),
                       rename("conv", "patch").permuted({3, 2, 0, 1})});
  const TensorDict file = {{"proj", numbers({2, 3})}, {"conv", numbers({4, 5, 3, 8})}};
  const TensorDict model = load(map, file);
  EXPECT_TRUE(at::equal(model.at("linear.weight"), numbers({2, 3}).t()));
  EXPECT_EQ(model.at("patch").sizes(), at::IntArrayRef({8, 3, 4, 5}));
  expect_inverse(map, file);
}

// llama.cpp's converter writes q and k with the two halves of each head interleaved:
// w.reshape(heads, 2, rows / heads / 2, columns).swapaxes(1, 2).reshape(w.shape).
TEST(TensorMap, RotaryPairsOfGgufComeBackToHalves) {
  constexpr int64_t kHeads = 3, kHeadDim = 8, kWidth = 5;
  const at::Tensor halves = numbers({kHeads * kHeadDim, kWidth});
  const at::Tensor pairs =
      halves.view({kHeads, 2, kHeadDim / 2, kWidth}).transpose(1, 2).reshape(halves.sizes());
  ASSERT_FALSE(at::equal(pairs, halves));
  const TensorMap map({rename("blk.{}.attn_q.weight", "layers.{}.q_proj.weight")
                           .regrouped(0, {kHeads, -1, 2}, {0, 2, 1})});
  const TensorDict file = {{"blk.4.attn_q.weight", pairs}};
  EXPECT_TRUE(at::equal(load(map, file).at("layers.4.q_proj.weight"), halves));
  expect_inverse(map, file);
}

TEST(TensorMap, StepsOfAStackedTensorActOnTheWhole) {
  const TensorMap map({split("w", {"a", "b"}).transposed().regrouped(0, {2, -1}, {1, 0})});
  expect_inverse(map, {{"w", numbers({3, 4})}});
  const TensorDict model = load(map, {{"w", numbers({3, 4})}});
  const at::Tensor whole = numbers({3, 4}).t().reshape({2, 2, 3}).transpose(0, 1).reshape({4, 3});
  EXPECT_TRUE(at::equal(model.at("b"), whole.slice(0, 2)));
}

TEST(TensorMap, DropsAndOmits) {
  const TensorMap map({rename("tower.*", "vision.*"), drop("*", "the language model"),
                       omit("*", "no place in the tower")});
  const TensorDict model = load(map, {{"tower.a", numbers({1})}, {"lm.b", numbers({1})}});
  EXPECT_EQ(model.size(), 1u);
  EXPECT_THAT(names(map.to_file({{"vision.a", numbers({1})}, {"proj", numbers({1})}})),
              ElementsAre("tower.a"));
}

TEST(TensorMap, ATiedTensorMayBeAbsentOrEqual) {
  const TensorMap map({tie("lm_head.weight", "embed.weight")});
  const at::Tensor table = numbers({3, 2});
  EXPECT_EQ(load(map, {{"embed.weight", table}}).size(), 1u);
  EXPECT_EQ(load(map, {{"embed.weight", table}, {"lm_head.weight", table.clone()}}).size(), 1u);
  EXPECT_THAT(names(map.to_file({{"embed.weight", table}, {"lm_head.weight", table}})),
              ElementsAre("embed.weight"));
}

TEST(TensorMap, ABrokenTieNamesBoth) {
  const TensorMap map({rename("output.weight", "lm_head.weight"), tie("lm_head.weight", "embed")});
  std::vector<std::string> problems;
  map.to_model({{"embed", numbers({3, 2})}, {"output.weight", numbers({3, 2}) + 1}}, problems);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_THAT(problems[0], HasSubstr("'lm_head.weight' and 'embed'"));
}

TEST(TensorMap, EveryProblemIsNoted) {
  const TensorMap map({split("qkv", {"q", "k", "v"}), rename("p", "w").transposed(),
                       rename("r", "s").regrouped(0, {4, -1}, {1, 0}), rename("x", "y")});
  std::vector<std::string> problems;
  map.to_model({{"qkv", numbers({4, 2})},
                {"p", numbers({4})},
                {"r", numbers({6})},
                {"x", numbers({1})},
                {"y", numbers({1})}},
               problems);
  ASSERT_EQ(problems.size(), 4u);
  EXPECT_THAT(problems[0], HasSubstr("'p' has 1 dimensions, expected 2"));
  EXPECT_THAT(problems[1], HasSubstr("'qkv' does not split into 3"));
  EXPECT_THAT(problems[2], HasSubstr("'r' does not divide"));
  EXPECT_THAT(problems[3], HasSubstr("'x' and 'y' both stand for 'y'"));
}

TEST(TensorMap, RulesThatDoNotFitTogetherAreRefused) {
  EXPECT_THROW(TensorMap({rename("a.{}", "b")}), Error);
  EXPECT_THROW(TensorMap({rename("a", "b").permuted({0, 2})}), Error);
  EXPECT_THROW(TensorMap({rename("a", "b").regrouped(0, {-1, -1}, {1, 0})}), Error);
  EXPECT_THROW(TensorMap({split("a", {"b", "c"}, 0, {1, 2, 3})}), Error);
  EXPECT_THROW(TensorMap({TensorRule{.file = {"a", "b"}, .model = {"c", "d"}}}), Error);
  const TensorMap map({split("ab", {"a", "b"})});
  EXPECT_THROW(map.to_file({{"a", numbers({1})}}), Error);  // one of two pieces
}

}  // namespace
}  // namespace parapet::nn

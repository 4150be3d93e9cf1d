#include "parapet/nn/module.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nn/toy_module.h"
#include "parapet/nn/checkpoint.h"
#include "parapet/nn/lora.h"
#include "parapet/nn/module_state.h"

namespace parapet::nn {
namespace {

using ::testing::ElementsAre;

Toy filled() {
  Toy toy;
  toy.fill();
  return toy;
}

TEST(Module, ShowsEverythingUnderItsFullNameInOrder) {
  const Toy toy = filled();
  std::vector<std::string> parameters, linears, layers, buffers;
  each_parameter(toy, [&](const std::string& n, const Parameter&) { parameters.push_back(n); });
  each_linear(toy, [&](const std::string& n, const Linear&) { linears.push_back(n); });
  each_layer(toy, [&](const std::string& n, const Layer&) { layers.push_back(n); });
  each_buffer(toy, [&](const std::string& n, const Buffer&) { buffers.push_back(n); });
  EXPECT_THAT(parameters,
              ElementsAre("model.embed_tokens.weight", "model.layers.0.mlp.up.weight",
                          "model.layers.0.mlp.up.bias", "model.layers.0.mlp.down.weight",
                          "model.layers.1.mlp.up.weight", "model.layers.1.mlp.up.bias",
                          "model.layers.1.mlp.down.weight", "lm_head.weight"));
  EXPECT_THAT(linears, ElementsAre("model.layers.0.mlp.up", "model.layers.0.mlp.down",
                                   "model.layers.1.mlp.up", "model.layers.1.mlp.down", "lm_head"));
  EXPECT_THAT(layers, ElementsAre("model.layers.0", "model.layers.1"));
  EXPECT_THAT(buffers, ElementsAre("model.count", "model.angles"));
}

TEST(Module, AWalkOverAConstModelShowsConst) {
  Toy toy = filled();
  each_parameter(toy, [](const std::string&, auto& p) {
    static_assert(!std::is_const_v<std::remove_reference_t<decltype(p)>>);
  });
  const Toy& seen = toy;
  each_parameter(seen, [](const std::string&, auto& p) {
    static_assert(std::is_const_v<std::remove_reference_t<decltype(p)>>);
  });
}

TEST(Module, CountsWithAdapters) {
  Toy toy = filled();
  const int64_t base = 5 * 4 + 2 * (6 * 4 + 6 + 4 * 6) + 5 * 4;
  EXPECT_EQ(count_parameters(toy).total, base);
  EXPECT_EQ(count_parameters(toy).trainable, 0);
  LoraOptions lora;
  lora.r = 3;
  lora.targets = {"up"};
  add_lora(toy, lora, 1);
  const int64_t adapters = 2 * 3 * (4 + 6);
  EXPECT_EQ(count_parameters(toy).total, base + adapters);
  EXPECT_EQ(count_parameters(toy).trainable, adapters);
  set_requires_grad(toy, true);
  EXPECT_EQ(count_parameters(toy).trainable, base + adapters);
  set_requires_grad(toy, false);
  EXPECT_EQ(count_parameters(toy).trainable, adapters);
}

TEST(Module, MovingConvertsParametersAlone) {
  Toy toy = filled();
  set_requires_grad(toy, true);
  LoraOptions lora;
  lora.targets = {"lm_head"};
  add_lora(toy, lora, 1);
  move_to(toy, at::kCPU, at::kBFloat16);
  each_parameter(toy, [](const std::string& name, const Parameter& p) {
    EXPECT_EQ(p.value.scalar_type(), at::kBFloat16) << name;
    EXPECT_TRUE(p.value.is_leaf() && p.value.requires_grad()) << name;
  });
  EXPECT_EQ(toy.count().scalar_type(), at::kLong);
  EXPECT_EQ(toy.angles().scalar_type(), at::kFloat);
  for (const auto& [name, tensor] : lora_parameters(toy))
    EXPECT_TRUE(tensor.scalar_type() == at::kFloat && tensor.requires_grad()) << name;
  const at::Tensor before = named_parameters(toy)[0].second;
  move_to(toy, at::kCPU);
  EXPECT_TRUE(named_parameters(toy)[0].second.is_same(before));
}

TEST(Module, SwitchesReachEveryPart) {
  Toy toy = filled();
  set_training(toy, true);
  set_recompute(toy, true);
  int linears = 0, layers = 0;
  each_linear(toy, [&](const std::string&, const Linear& l) { linears += l.training ? 1 : 0; });
  each_layer(toy, [&](const std::string&, const Layer& l) { layers += l.recompute ? 1 : 0; });
  EXPECT_EQ(linears, 5);
  EXPECT_EQ(layers, 2);
}

}  // namespace
}  // namespace parapet::nn

// RMS norm, gated MLP and token losses against `transformers` and torch, with gradients.
#include "nn/nn_goldens.h"
#include "parapet/core/error.h"
#include "parapet/nn/gated_mlp.h"
#include "parapet/nn/rms_norm.h"
#include "parapet/nn/token_loss.h"

namespace parapet::nn::test {
namespace {

TEST(RmsNorm, EqualsTransformersWithGradients) {
  const Tensors goldens = golden("rms_norm");
  const at::Tensor x = leaf(goldens.at("x")), weight = leaf(goldens.at("weight"));
  const at::Tensor out = rms_norm(x, weight, 1e-5);
  (out * goldens.at("dy")).sum().backward();
  EXPECT_LT(apart(out, goldens.at("out")), 1e-5);
  EXPECT_LT(apart(x.grad(), goldens.at("grad.x")), 1e-5);
  EXPECT_LT(apart(weight.grad(), goldens.at("grad.weight")), 1e-5);
}

TEST(RmsNorm, HalfTypesRoundWhereTransformersDoes) {
  const Tensors goldens = golden("rms_norm");
  const at::Tensor x = leaf(goldens.at("x").to(at::kBFloat16));
  const at::Tensor weight = leaf(goldens.at("weight").to(at::kBFloat16));
  const at::Tensor out = rms_norm(x, weight, 1e-5);
  EXPECT_EQ(out.scalar_type(), at::kBFloat16);
  // One unit in the last place, where the mean of squares is summed in another order.
  EXPECT_LT(apart(out, goldens.at("out.bf16")), 0.02);
  (out * goldens.at("dy").to(at::kBFloat16)).sum().backward();
  EXPECT_LT(apart(x.grad(), goldens.at("grad.x")), 0.05);
  EXPECT_LT(apart(weight.grad(), goldens.at("grad.weight")), 0.2);
}

class GatedMlps : public ::testing::TestWithParam<const char*> {};

TEST_P(GatedMlps, EqualTransformersWithGradients) {
  const std::string act = GetParam();
  const Tensors goldens = golden("gated_mlp");
  GatedMlp mlp(12, 20, true, activation_from_name(act, "test"));
  std::map<std::string, at::Tensor> leaves;
  GatedMlp::parts(mlp, [&](const char* name, Linear& linear) {
    for (const auto& [suffix, parameter] :
         {std::pair{".weight", &linear.weight()}, {".bias", &linear.bias()}})
      leaves[name + std::string(suffix)] = parameter->value =
          leaf(goldens.at(name + std::string(suffix)));
  });
  const at::Tensor x = leaf(goldens.at("x"));
  const at::Tensor out = mlp.forward(x);
  (out * goldens.at("dy")).sum().backward();
  EXPECT_LT(apart(out, goldens.at(act + ".out")), 1e-5);
  EXPECT_LT(apart(x.grad(), goldens.at(act + ".grad.x")), 1e-5);
  ASSERT_EQ(leaves.size(), 6u);
  for (const auto& [name, tensor] : leaves)
    EXPECT_LT(apart(tensor.grad(), goldens.at(act + ".grad." + name)), 1e-5) << name;
}

INSTANTIATE_TEST_SUITE_P(GatedMlp, GatedMlps,
                         ::testing::Values("silu", "gelu_pytorch_tanh", "gelu"),
                         [](const auto& info) { return std::string(info.param); });

TEST(GatedMlp, OtherActivationsAreRefused) {
  const at::Tensor x = at::ones({2, 3});
  EXPECT_THROW(gated_product(x, x, Activation::kRelu), UsageError);
}

TEST(TokenLoss, EqualsTheWholeLogitsForEveryChunk) {
  const Tensors goldens = golden("token_loss");
  for (const int64_t chunk : {1, 3, 512}) {
    const at::Tensor hidden = leaf(goldens.at("hidden")), weight = leaf(goldens.at("weight"));
    const TokenLoss loss = next_token_loss(hidden, weight, goldens.at("labels"), chunk);
    EXPECT_EQ(loss.tokens, 8);
    loss.mean().backward();
    EXPECT_LT(apart(loss.mean(), goldens.at("out")), 1e-5);
    EXPECT_LT(apart(hidden.grad(), goldens.at("grad.hidden")), 1e-5);
    EXPECT_LT(apart(weight.grad(), goldens.at("grad.weight")), 1e-5);
  }
}

TEST(TokenLoss, EachTokenHasItsOwnGradient) {
  const at::Tensor x = leaf(values({5, 6}, 1)), weight = leaf(values({9, 6}, 2));
  const at::Tensor labels = at::tensor(std::vector<int64_t>{0, 8, 3, 3, 1}, at::kLong);
  const at::Tensor counts = values({5}, 3);
  (token_losses(x, weight, labels, 2) * counts).sum().backward();
  const at::Tensor plain_x = leaf(x), plain_weight = leaf(weight);
  const at::Tensor logits = at::mm(plain_x, plain_weight.t());
  (at::cross_entropy_loss(logits, labels, {}, at::Reduction::None) * counts).sum().backward();
  EXPECT_LT(apart(x.grad(), plain_x.grad()), 1e-5);
  EXPECT_LT(apart(weight.grad(), plain_weight.grad()), 1e-5);
}

TEST(TokenLoss, FrozenWeightsInAnotherType) {
  const Tensors goldens = golden("token_loss");
  const at::Tensor hidden = leaf(goldens.at("hidden"));
  const at::Tensor weight = goldens.at("weight").to(at::kBFloat16);
  next_token_loss(hidden, weight, goldens.at("labels")).mean().backward();
  EXPECT_FALSE(weight.grad().defined());
  EXPECT_LT(apart(hidden.grad(), goldens.at("grad.hidden")), 0.01);
}

TEST(TokenLoss, NothingToPredictCostsNothing) {
  const at::Tensor hidden = leaf(values({1, 3, 4}, 1)), weight = leaf(values({7, 4}, 2));
  const TokenLoss loss =
      next_token_loss(hidden, weight, at::full({1, 3}, kIgnoredLabel, at::kLong));
  EXPECT_EQ(loss.tokens, 0);
  EXPECT_EQ(loss.mean().item<double>(), 0);
  loss.mean().backward();
  EXPECT_EQ(hidden.grad().abs().max().item<double>(), 0);
}

TEST(TokenLoss, LabelsBeyondTheVocabularyAreRefused) {
  const at::Tensor hidden = values({1, 2, 4}, 1), weight = values({7, 4}, 2);
  for (const int64_t bad : {int64_t{7}, int64_t{-1}})
    EXPECT_THROW(next_token_loss(hidden, weight, at::full({1, 2}, bad, at::kLong)), DataError);
}

}  // namespace
}  // namespace parapet::nn::test

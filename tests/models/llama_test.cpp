// Llama as a Model: files, adapters, recomputation, caches. What it computes is compared with
// `transformers` in tests/conformance/test_llama.py.
#include "parapet/models/llama/llama.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/models/registry.h"
#include "parapet/nn/checkpoint.h"
#include "parapet/nn/lora.h"
#include "parapet/nn/module_state.h"
#include "support/temp_folder.h"

namespace parapet::test {
namespace {

LlamaConfig small(bool tied) {
  LlamaConfig config;
  config.vocab_size = 50;
  config.hidden_size = 16;
  config.intermediate_size = 24;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = config.rotary.head_dim = 4;
  config.max_position_embeddings = 12;
  config.initializer_range = 0.3;
  config.tie_word_embeddings = tied;
  config.eos_token_ids = {2, 7};
  return config;
}

LlamaInput some_ids() {
  LlamaInput input;
  input.ids = (at::arange(16, at::kLong) * 7 % 50).view({2, 8});
  return input;
}

at::Tensor logits_of(const LlamaModel& model) {
  const at::NoGradGuard no_grad;
  return model.logits(model.hidden(some_ids()));
}

class Llamas : public ::testing::TestWithParam<bool> {
 protected:
  LlamaModel model_ = LlamaModel::random(small(GetParam()), 3);
  TempFolder folder_;
};

TEST_P(Llamas, SavedAndLoadedThroughTheRegistryIsBitIdentical) {
  model_.save(folder_ / "saved");
  const auto again = load_model(folder_ / "saved");
  ASSERT_EQ(again->family(), "llama");
  EXPECT_EQ(nn::parameters_hash(*again), nn::parameters_hash(model_));
  EXPECT_EQ(again->config_json(), model_.config_json());
  const TensorArchive archive = TensorArchive::open(folder_ / "saved", "model");
  EXPECT_EQ(archive.find("lm_head.weight") != nullptr, !GetParam());
  EXPECT_TRUE(at::equal(logits_of(dynamic_cast<const LlamaModel&>(*again)), logits_of(model_)));
}

TEST_P(Llamas, RecomputationChangesNoBit) {
  const auto gradients = [&](bool again) {
    model_.set_recompute(again);
    nn::set_requires_grad(model_, true);
    nn::TensorDict found;
    const LlamaInput input = some_ids();
    model_.loss(input, input.ids).mean().backward();
    for (const auto& [name, tensor] : nn::named_parameters(model_)) {
      found[name] = tensor.grad().clone();
      tensor.mutable_grad() = at::Tensor();
    }
    return found;
  };
  const nn::TensorDict plain = gradients(false), again = gradients(true);
  ASSERT_GT(plain.size(), 15u);
  for (const auto& [name, gradient] : plain) {
    EXPECT_TRUE(at::equal(again.at(name), gradient)) << name;
    EXPECT_GT(gradient.abs().max().item<double>(), 0) << name;
  }
}

TEST_P(Llamas, AdaptersOnEveryDefaultTargetTrainWithRecomputation) {
  const std::string before = nn::parameters_hash(model_);
  nn::set_requires_grad(model_, false);
  const auto adapted = nn::add_lora(model_, with_targets({.r = 2, .targets = {}}, model_), 1);
  EXPECT_EQ(adapted.size(), 14u);
  model_.set_recompute(true);
  const LlamaInput input = some_ids();
  model_.loss(input, input.ids).mean().backward();
  for (const auto& [name, tensor] : nn::lora_parameters(model_))
    EXPECT_TRUE(tensor.grad().defined()) << name;  // B is 0, so A's gradients are
  EXPECT_EQ(nn::parameters_hash(model_), before);
}

TEST_P(Llamas, ACacheEndsWithTheContext) {
  const at::NoGradGuard no_grad;
  nn::KvCache cache = model_.make_cache();
  LlamaInput input = some_ids();
  input.cache = &cache;
  model_.hidden(input);
  EXPECT_EQ(cache.length(), 8);
  EXPECT_THROW(model_.hidden(input), UsageError);
}

INSTANTIATE_TEST_SUITE_P(Llama, Llamas, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "tied" : "untied"; });

TEST(Llama, AnAdapterOnTheOutputLayerCountsInTheLoss) {
  LlamaModel model = LlamaModel::random(small(false), 3);
  nn::set_requires_grad(model, false);
  nn::add_lora(model, {.r = 2, .targets = {"lm_head"}}, 1);
  for (const auto& [name, tensor] : nn::lora_parameters(model))
    if (name.ends_with("lora_B.weight")) {
      const at::NoGradGuard no_grad;
      // Rows must differ: a shift of all logits alike changes no loss.
      tensor.copy_(at::sin(at::arange(tensor.numel(), at::kFloat)).view(tensor.sizes()));
    }
  const LlamaInput input = some_ids();
  const auto gradients = [&](const at::Tensor& loss) {
    loss.backward();
    std::vector<at::Tensor> found;
    for (const auto& [name, tensor] : nn::lora_parameters(model)) {
      found.push_back(tensor.grad().clone());
      tensor.mutable_grad() = at::Tensor();
    }
    return found;
  };
  const at::Tensor chunked = model.loss(input, input.ids).mean();
  const at::Tensor whole =
      at::cross_entropy_loss(model.logits(model.hidden(input)).slice(1, 0, -1).reshape({-1, 50}),
                             input.ids.slice(1, 1).reshape({-1}));
  EXPECT_NEAR(chunked.item<double>(), whole.item<double>(), 1e-5);
  const auto a = gradients(chunked), b = gradients(whole);
  ASSERT_EQ(a.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_GT(b[i].abs().max().item<double>(), 1e-3);
    EXPECT_TRUE(at::allclose(a[i], b[i], 1e-4, 1e-6));
  }
}

TEST(Llama, IdsBeyondTheVocabularyAreRefused) {
  const LlamaModel model = LlamaModel::random(small(false), 3);
  LlamaInput input = some_ids();
  input.ids[1][2] = 50;
  EXPECT_THROW(model.hidden(input), DataError);
}

}  // namespace
}  // namespace parapet::test

// The estimate beside what CLIP really takes, as the CPU allocator counts it.
#include "parapet/training/memory_estimate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "parapet/models/clip/clip.h"
#include "parapet/nn/lora.h"
#include "parapet/training/optimizer.h"
#include "support/live_bytes.h"

namespace parapet {
namespace {

constexpr int64_t kBatch = 12;

ClipModel medium() {
  ClipConfig config;
  config.vision.hidden_size = 128;
  config.vision.intermediate_size = 512;
  config.vision.num_hidden_layers = 5;
  config.vision.num_attention_heads = 4;
  config.vision.image_size = 64;
  config.vision.patch_size = 8;
  config.text = {.hidden_size = 96,
                 .intermediate_size = 384,
                 .num_hidden_layers = 4,
                 .num_attention_heads = 3,
                 .vocab_size = 200,
                 .max_position_embeddings = 32};
  config.text.eos_token_id = 199;
  config.projection_dim = 64;
  return ClipModel::random(config, 1);
}

TrainingShape shape() {
  TrainingShape shape{.batch = kBatch, .rows = {{"vision_model", 65}, {"text_model", 32}}};
  // The last layers compute the pooled row alone, from keys and values of all.
  for (const std::string last : {"vision_model.encoder.layers.4", "text_model.encoder.layers.3"})
    for (const char* part : {".mlp", ".self_attn.q_proj", ".self_attn.out_proj"})
      shape.rows.push_back({last + part, 1});
  return shape;
}

// The loss of a batch, with its graph.
at::Tensor loss_of(const ClipModel& model, const at::Tensor& ids, const at::Tensor& pixels) {
  return model.encode_text(ids).sum() + model.encode_image(pixels).square().sum();
}

std::vector<TrainableParameter> trainable(ClipModel& model) {
  std::vector<TrainableParameter> list;
  nn::each_parameter(model, [&](const std::string& name, nn::Parameter& p) {
    if (p.value.requires_grad()) list.push_back({name, p.value});
  });
  for (auto& [name, tensor] : nn::lora_parameters(model)) list.push_back({name, tensor});
  return list;
}

// One step with everything counted.
TrainingMemory measured(ClipModel& model) {
  const at::Tensor ids = at::full({kBatch, 32}, 199, at::kLong);
  const at::Tensor pixels = at::rand({kBatch, 3, 64, 64});
  TrainingMemory memory;
  at::Tensor loss;
  {
    const test::LiveBytes live;
    loss = loss_of(model, ids, pixels);
    memory.activations = live.now();
  }
  loss.backward();
  Optimizer optimizer(trainable(model), {});
  for (const auto& parameter : optimizer.parameters()) {
    memory.parameters += static_cast<int64_t>(parameter.tensor.nbytes());
    if (parameter.tensor.grad().defined())
      memory.gradients += static_cast<int64_t>(parameter.tensor.grad().nbytes());
  }
  optimizer.step(1e-3);
  for (const auto& [name, tensor] : optimizer.state())
    memory.optimizer += static_cast<int64_t>(tensor.nbytes());
  return memory;
}

void expect_close(int64_t estimate, int64_t real) {
  EXPECT_GT(static_cast<double>(estimate), 0.75 * static_cast<double>(real));
  EXPECT_LT(static_cast<double>(estimate), 1.25 * static_cast<double>(real));
}

TEST(TrainingMemory, WholeClip) {
  ClipModel model = medium();
  nn::set_requires_grad(model, true);
  model.logit_scale().value.requires_grad_(false);  // without a part in this loss
  const TrainingMemory estimate = estimate_training_memory(model, shape());
  const TrainingMemory real = measured(model);
  EXPECT_EQ(estimate.parameters, real.parameters + 4);  // and the scale
  EXPECT_EQ(estimate.gradients, real.gradients);
  EXPECT_EQ(estimate.optimizer, real.optimizer);
  expect_close(estimate.activations, real.activations);
}

TEST(TrainingMemory, AdaptersAlone) {
  ClipModel model = medium();
  nn::LoraOptions lora = with_targets({}, model);
  lora.r = 4;
  nn::add_lora(model, lora, 1);
  const TrainingMemory estimate = estimate_training_memory(model, shape());
  const TrainingMemory real = measured(model);
  const int64_t base = nn::count_parameters(medium()).total * 4;
  EXPECT_EQ(estimate.parameters, base + real.parameters);
  EXPECT_EQ(estimate.gradients, real.gradients);
  EXPECT_EQ(estimate.optimizer, real.optimizer);
  expect_close(estimate.activations, real.activations);
}

TEST(TrainingMemory, BFloat16WeightsAndComputeHalve) {
  ClipModel model = medium();
  nn::set_requires_grad(model, true);
  const TrainingMemory full = estimate_training_memory(model, shape());
  nn::move_to(model, at::kCPU, at::kBFloat16);
  TrainingShape half = shape();
  half.compute = at::kBFloat16;
  const TrainingMemory estimate = estimate_training_memory(model, half);
  EXPECT_EQ(estimate.parameters * 2, full.parameters);
  EXPECT_EQ(estimate.activations * 2, full.activations);
  EXPECT_EQ(estimate.gradients, full.gradients);  // float32
  EXPECT_GT(estimate.optimizer, full.optimizer);  // with a master copy
}

TEST(TrainingMemory, RecomputedLayersKeepTheirInput) {
  ClipModel model = medium();
  nn::set_requires_grad(model, true);
  const TrainingMemory plain = estimate_training_memory(model, shape());
  model.set_recompute(true);
  const TrainingMemory saved = estimate_training_memory(model, shape());
  EXPECT_LT(saved.activations, plain.activations / 2);
  EXPECT_EQ(saved.gradients, plain.gradients);
  // Between the passes the inside of the one layer is not there yet.
  const TrainingMemory real = measured(model);
  EXPECT_LT(real.activations, saved.activations * 5 / 4);
  EXPECT_GT(real.activations, saved.activations / 4);
}

TEST(TrainingMemory, LayersBelowTheFirstThatTrainsKeepNothing) {
  ClipModel model = medium();
  // The top two layers of each tower, as a guard's fine-tuning sets them free.
  nn::each_parameter(model, [](const std::string& name, nn::Parameter& p) {
    for (const char* open : {"vision_model.encoder.layers.3.", "vision_model.encoder.layers.4.",
                             "text_model.encoder.layers.2.", "text_model.encoder.layers.3."})
      if (name.starts_with(open)) p.value.requires_grad_(true);
  });
  const TrainingMemory estimate = estimate_training_memory(model, shape());
  const TrainingMemory real = measured(model);
  expect_close(estimate.activations, real.activations);
  EXPECT_EQ(estimate.gradients, real.gradients);
  ClipModel whole = medium();
  nn::set_requires_grad(whole, true);
  EXPECT_LT(estimate.activations, estimate_training_memory(whole, shape()).activations / 2);
}

TEST(TrainingMemory, APartWithoutRowsTakesNoActivations) {
  ClipModel model = medium();
  nn::add_lora(model, with_targets({}, model), 1);
  TrainingShape one_tower = shape();
  one_tower.rows = {{"vision_model", 0}, {"visual_projection", 0}, {"text_model", 32}};
  const int64_t text = estimate_training_memory(model, one_tower).activations;
  one_tower.rows = {{"vision_model", 65}, {"text_model", 0}, {"text_projection", 0}};
  const int64_t images = estimate_training_memory(model, one_tower).activations;
  EXPECT_GT(text, 0);
  EXPECT_GT(images, text);
  one_tower.rows = {{"vision_model", 65}, {"text_model", 32}};
  EXPECT_EQ(text + images, estimate_training_memory(model, one_tower).activations);
}

TEST(TrainingMemory, NothingTrainsInAFrozenModel) {
  const ClipModel model = medium();
  const TrainingMemory estimate = estimate_training_memory(model, shape());
  EXPECT_EQ(estimate.total(), estimate.parameters);
}

}  // namespace
}  // namespace parapet

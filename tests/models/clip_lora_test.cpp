// LoRA on CLIP against goldens of `peft`.
#include "models/clip_fixture.h"
#include "parapet/nn/lora.h"
#include "parapet/nn/lora_off.h"

namespace parapet {
namespace {

class ClipLora : public GoldenClip {
 protected:
  ClipModel adapted(at::ScalarType dtype = at::kFloat) {
    ClipModel model = load("new", dtype);
    options_ = nn::load_lora(model, golden("adapter"));
    return model;
  }
  nn::LoraOptions options_;
  std::map<std::string, at::Tensor> expected_ = golden_tensors("expected_adapter.safetensors");
};

TEST_F(ClipLora, EqualsPeft) {
  ClipModel model = adapted();
  EXPECT_LT(apart(model.encode_text(ids_), expected_.at("text.embeds")), 1e-5);
  EXPECT_LT(apart(model.encode_image(pixels_), expected_.at("image.embeds")), 1e-5);
  EXPECT_TRUE(options_.rslora);
  EXPECT_EQ(options_.r, 2);
}

TEST_F(ClipLora, GradientsEqualPeft) {
  ClipModel model = adapted();
  const nn::NamedTensors parameters = nn::lora_parameters(model);
  for (const auto& [name, tensor] : parameters) tensor.requires_grad_(true);
  golden_loss(model, ids_, pixels_).backward();
  // k_proj and fc1 of 2 + 2 layers, patch_embedding, visual_projection.
  ASSERT_EQ(parameters.size(), 2u * (2 * 4 + 2));
  for (const auto& [name, tensor] : parameters) {
    const at::Tensor& theirs = expected_.at("grad." + name);
    EXPECT_GT(theirs.norm().item<double>(), 1e-6) << name;
    EXPECT_LT(apart(tensor.grad(), theirs.reshape(tensor.sizes())), 1e-5) << name;
  }
}

// Dropout takes the path of separate passes: with a rate too small to drop anything here, it must
// give what the merged path gives.
TEST_F(ClipLora, BothForwardPathsAgree) {
  ClipModel model = adapted();
  auto gradients = [&](double dropout) {
    model.set_training(dropout > 0);
    nn::each_linear(model, [&](const std::string&, nn::Linear& linear) {
      if (linear.lora) linear.lora->dropout = dropout;
    });
    std::vector<at::Tensor> list;
    for (auto& [name, tensor] : nn::lora_parameters(model)) {
      tensor.requires_grad_(true);
      tensor.mutable_grad() = at::Tensor();
    }
    golden_loss(model, ids_, pixels_).backward();
    for (const auto& [name, tensor] : nn::lora_parameters(model))
      list.push_back(tensor.grad().clone());
    return list;
  };
  const auto merged = gradients(0), separate = gradients(1e-12);
  for (size_t i = 0; i < merged.size(); ++i) EXPECT_LT(apart(merged[i], separate[i]), 1e-5) << i;
}

TEST_F(ClipLora, DropoutActsInTrainingOnly) {
  ClipModel model = adapted();
  const at::Tensor quiet = model.encode_image(pixels_);
  nn::each_linear(model, [](const std::string&, nn::Linear& linear) {
    if (linear.lora) linear.lora->dropout = 0.5;
  });
  EXPECT_TRUE(at::equal(model.encode_image(pixels_), quiet));
  model.set_training(true);
  EXPECT_GT(apart(model.encode_image(pixels_), quiet), 1e-3);
}

TEST_F(ClipLora, OffScopeIsTheBaseModelBitForBit) {
  const at::Tensor text = load().encode_text(ids_), image = load().encode_image(pixels_);
  ClipModel model = adapted();
  {
    const nn::LoraOff off;
    EXPECT_TRUE(at::equal(model.encode_text(ids_), text));
    { const nn::LoraOff nested; }
    EXPECT_TRUE(nn::LoraOff::active());
    EXPECT_TRUE(at::equal(model.encode_image(pixels_), image));
  }
  EXPECT_FALSE(nn::LoraOff::active());
  EXPECT_GT(apart(model.encode_text(ids_), text), 1e-2);
}

TEST_F(ClipLora, MergeKeepsTheResult) {
  ClipModel model = adapted();
  const std::string before = nn::parameters_hash(model);
  const at::Tensor text = model.encode_text(ids_);
  nn::merge_lora(model);
  EXPECT_TRUE(nn::lora_parameters(model).empty());
  EXPECT_NE(nn::parameters_hash(model), before);
  EXPECT_LT(apart(model.encode_text(ids_), text), 1e-6);
}

TEST_F(ClipLora, SavingMergesIntoTheFileAndLeavesTheModelAlone) {
  ClipModel model = adapted();
  const std::string before = nn::parameters_hash(model);
  model.save(folder_ / "merged");
  EXPECT_EQ(nn::parameters_hash(model), before);
  EXPECT_EQ(nn::lora_parameters(model).size(), 20u);
  nn::merge_lora(model);
  EXPECT_EQ(nn::parameters_hash(ClipModel::load(folder_ / "merged")), nn::parameters_hash(model));
}

TEST_F(ClipLora, SavedAndLoadedAgainIsTheSame) {
  ClipModel model = adapted();
  nn::save_lora(model, options_, folder_ / "adapter", {});
  ClipModel again = load();
  const nn::LoraOptions options = nn::load_lora(again, folder_ / "adapter");
  EXPECT_EQ(options.targets, options_.targets);
  EXPECT_TRUE(at::equal(again.encode_image(pixels_), model.encode_image(pixels_)));
}

TEST_F(ClipLora, ARefusedAdapterLeavesTheModelAlone) {
  ClipModel model = adapted();
  const at::Tensor before = model.encode_text(ids_);
  nn::save_lora(model, options_, folder_ / "adapter", {});
  auto tensors = nn::lora_parameters(model);
  for (auto& [name, tensor] : tensors) name = "base_model.model." + name;
  tensors.resize(3);  // a lone A, and A of a Conv2d in another shape
  nn::save_tensors(folder_ / "adapter" / "adapter_model.safetensors", tensors);
  EXPECT_NE(data_error([&] { nn::load_lora(model, folder_ / "adapter"); }).find("missing"),
            std::string::npos);
  EXPECT_TRUE(at::equal(model.encode_text(ids_), before));
}

TEST_F(ClipLora, NewAdaptersStartWithoutEffect) {
  ClipModel model = load();
  const at::Tensor before = model.encode_text(ids_);
  nn::LoraOptions options;
  options.targets = {"fc1", "vision_model.encoder.layers.1.self_attn.q_proj"};
  const auto paths = nn::add_lora(model, options, 1);
  EXPECT_EQ(paths.size(), 5u);
  EXPECT_LT(apart(model.encode_text(ids_), before), 1e-6);
  for (const auto& [name, tensor] : nn::lora_parameters(model))
    EXPECT_TRUE(tensor.requires_grad()) << name;
  options.targets = {"proj"};  // no suffix of a name part, as in PEFT
  EXPECT_THROW(nn::add_lora(model, options, 1), UsageError);
}

}  // namespace
}  // namespace parapet

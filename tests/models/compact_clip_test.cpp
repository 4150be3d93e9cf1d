// A CLIP through its compact file: what is kept exactly, what is rounded, and files that lie.
#include "parapet/models/clip/compact_clip.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "parapet/core/error.h"
#include "parapet/nn/checkpoint.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

constexpr const char* kTokens = "text_model.embeddings.token_embedding.weight";

ClipConfig small_config() {
  ClipConfig config;
  config.vision.hidden_size = 64;
  config.vision.intermediate_size = 128;
  config.vision.num_hidden_layers = 2;
  config.vision.num_attention_heads = 2;
  config.vision.image_size = 32;
  config.vision.patch_size = 16;
  config.text.hidden_size = 64;
  config.text.intermediate_size = 128;
  config.text.num_hidden_layers = 1;
  config.text.num_attention_heads = 2;
  config.text.vocab_size = 500;
  config.text.bos_token_id = 498;
  config.text.eos_token_id = 499;
  config.projection_dim = config.vision.projection_dim = config.text.projection_dim = 64;
  return config;
}

std::map<std::string, at::Tensor> tensors_of(ClipModel& model) {
  std::map<std::string, at::Tensor> out;
  for (auto& [name, tensor] : nn::named_parameters(model)) out[name] = tensor;
  return out;
}

class CompactClip : public ::testing::Test {
 protected:
  // As training leaves it: used token rows moved, the others only decayed, all else moved.
  CompactClip() : model_(ClipModel::random(small_config(), 3)) {
    at::manual_seed(1);
    nn::each_parameter(model_, [&](const std::string& name, nn::Parameter& p) {
      if (name == kTokens) {
        p.value.mul_(0.9731);
        for (const int64_t row : used_) p.value[row].add_(at::randn({64}) * 0.05);
      } else {
        p.value = p.value + at::randn(p.value.sizes()) * 0.05;
      }
    });
    info_ = save_compact_clip(model_, 3, file_);
  }

  // The archive with one thing changed.
  void rewrite(
      const std::function<void(nn::NamedTensors&, std::map<std::string, std::string>&)>& change) {
    const TensorArchive archive = TensorArchive::open(file_, "model", TensorStorage::kCopied);
    nn::NamedTensors tensors;
    for (const auto& [name, view] : archive.tensors())
      tensors.emplace_back(name, nn::to_tensor(view).clone());
    auto metadata = archive.metadata();
    change(tensors, metadata);
    nn::save_tensors(file_, tensors, metadata);
  }

  test::TempFolder folder_;
  std::filesystem::path file_ = folder_ / "compact.safetensors";
  std::vector<int64_t> used_ = {0, 7, 42, 498, 499};
  ClipModel model_;
  CompactClipInfo info_;
};

TEST_F(CompactClip, KeepsUsedRowsAndDrawsTheOthersAgain) {
  EXPECT_EQ(info_.token_rows, 5);
  EXPECT_NEAR(info_.token_decay, 0.9731, 1e-6);
  ClipModel back = load_compact_clip(file_);
  const at::Tensor was = tensors_of(model_).at(kTokens), is = tensors_of(back).at(kTokens);
  for (const int64_t row : used_) EXPECT_TRUE(at::equal(is[row], was[row])) << row;
  EXPECT_LE((is - was).abs().max().item<double>(), 1e-6);
}

TEST_F(CompactClip, RoundsMatricesByRowAndNothingElse) {
  ClipModel back = load_compact_clip(file_);
  const auto was = tensors_of(model_), is = tensors_of(back);
  int rounded = 0;
  for (const auto& [name, tensor] : was) {
    if (name == kTokens || at::equal(tensor, is.at(name))) continue;
    ++rounded;
    ASSERT_GE(tensor.dim(), 2) << name;
    const at::Tensor rows = tensor.reshape({tensor.size(0), -1});
    const at::Tensor step = rows.abs().amax(1, true) / 127;
    const at::Tensor error = (is.at(name).reshape(rows.sizes()) - rows).abs();
    EXPECT_LE((error / step).max().item<double>(), 0.5001) << name;
  }
  EXPECT_EQ(rounded, 6 * 2 + 6 + 1 + 2);  // every Linear: layers, patches, projections
  EXPECT_EQ(is.at("logit_scale").dim(), 0);
}

TEST_F(CompactClip, IsAQuarterOfTheWeights) {
  int64_t weights = 0;
  for (const auto& [name, tensor] : tensors_of(model_))
    if (name != kTokens) weights += tensor.numel();
  EXPECT_LT(info_.bytes, weights * 2);
  EXPECT_EQ(info_.bytes, static_cast<int64_t>(std::filesystem::file_size(file_)));
}

TEST_F(CompactClip, AnotherSeedIsRefusedWhenPacking) {
  EXPECT_THROW(save_compact_clip(model_, 4, folder_ / "other"), UsageError);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "other"));
}

TEST_F(CompactClip, FilesThatDoNotFitAreNamed) {
  using Change = std::function<void(nn::NamedTensors&, std::map<std::string, std::string>&)>;
  const auto drop = [](std::string name) -> Change {
    return [name](nn::NamedTensors& tensors, auto&) {
      std::erase_if(tensors, [&](const auto& item) { return item.first == name; });
    };
  };
  const std::map<std::string, Change> changes = {
      {"config", [](auto&, auto& metadata) { metadata.erase("config"); }},
      {"seed", [](auto&, auto& metadata) { metadata["seed"] = "3x"; }},
      {"token_decay", [](auto&, auto& metadata) { metadata.erase("token_decay"); }},
      {"token_rows", drop("token_rows")},
      {"visual_projection.weight.scale", drop("visual_projection.weight.scale")},
      {"vision_model.post_layernorm.bias", drop("vision_model.post_layernorm.bias")},
      {"outside the vocabulary", [](nn::NamedTensors& tensors, auto&) {
         for (auto& [name, tensor] : tensors)
           if (name == "token_rows") tensor[0] = 500;
       }}};
  for (const auto& [what, change] : changes) {
    save_compact_clip(model_, 3, file_);
    rewrite(change);
    try {
      load_compact_clip(file_);
      ADD_FAILURE() << what;
    } catch (const DataError& error) {
      EXPECT_NE(std::string(error.what()).find(what), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(file_.string()), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace parapet

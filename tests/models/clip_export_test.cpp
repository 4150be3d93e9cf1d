// Export layouts come back bit for bit. Against the real consumers:
// tests/conformance/test_export.py.
#include "parapet/models/clip/clip_export.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "models/clip_fixture.h"
#include "parapet/core/json.h"
#include "parapet/models/clip/clip_layouts.h"
#include "parapet/models/clip/clip_open_clip.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

class ClipExportTest : public GoldenClip {
 protected:
  // The exported file that holds all weights of `target`.
  fs::path export_to(ClipModel& model, const std::string& target) {
    ClipExportOptions options;
    options.target = target;
    return export_clip(model, options, folder_ / target, {}).files.front();
  }

  void expect_same_weights(ClipModel& part, ClipModel& whole) {
    std::map<std::string, at::Tensor> have;
    for (auto& [name, tensor] : nn::named_parameters(whole)) have[name] = tensor;
    for (auto& [name, tensor] : nn::named_parameters(part))
      EXPECT_TRUE(at::equal(tensor, have.at(name))) << name;
  }
};

TEST_F(ClipExportTest, EveryTargetComesBackBitForBit) {
  ClipModel model = load();
  const std::map<std::string, ClipKind> kinds = {
      {"hf", ClipKind::kFull},        {"open_clip", ClipKind::kFull},
      {"diffusers", ClipKind::kText}, {"comfyui", ClipKind::kTextWithProjection},
      {"llava", ClipKind::kVision},   {"llava_original", ClipKind::kVision}};
  ASSERT_EQ(kinds.size(), clip_export_targets().size());
  for (const auto& [target, kind] : kinds) {
    ClipModel back = import_clip(export_to(model, target));
    EXPECT_EQ(back.config().kind, kind) << target;
    expect_same_weights(back, model);
    if (kind != ClipKind::kFull) continue;
    EXPECT_EQ(back.config().to_json(), model.config().to_json()) << target;
    EXPECT_EQ(nn::parameters_hash(back), nn::parameters_hash(model));
  }
}

TEST_F(ClipExportTest, OpenClipFolderComesBackByItsOwnConfiguration) {
  ClipModel model = load();
  export_to(model, "open_clip");
  // Without what our own export records in the file.
  nn::NamedTensors tensors;
  const fs::path file = folder_ / "open_clip" / "open_clip_model.safetensors";
  const TensorArchive archive = TensorArchive::open(file);
  for (const auto& [name, view] : archive.tensors())
    tensors.emplace_back(name, nn::to_tensor(view).clone());
  nn::save_tensors(file, tensors);
  ClipModel back = import_clip(folder_ / "open_clip");
  expect_same_weights(back, model);
  EXPECT_TRUE(at::equal(back.encode_text(ids_), model.encode_text(ids_)));
  EXPECT_TRUE(at::equal(back.encode_image(pixels_), model.encode_image(pixels_)));
}

TEST_F(ClipExportTest, StableDiffusionCheckpointsYieldTheirTextTower) {
  ClipModel model = load();
  nn::NamedTensors tensors = {{"model.diffusion_model.out.weight", at::zeros({3})}};
  for (auto& [name, tensor] : nn::named_parameters(model))
    if (name.starts_with("text_model."))
      tensors.emplace_back("cond_stage_model.transformer." + name, tensor);
  tensors.emplace_back("cond_stage_model.transformer.text_model.embeddings.position_ids",
                       at::arange(12));
  nn::save_tensors(folder_ / "sd.safetensors", tensors);
  fs::create_directories(folder_ / "elsewhere");
  fs::rename(folder_ / "sd.safetensors", folder_ / "elsewhere/sd.safetensors");
  EXPECT_NE(
      data_error([&] { import_clip(folder_ / "elsewhere/sd.safetensors"); }).find("--config-from"),
      std::string::npos);
  ClipModel back = import_clip(folder_ / "elsewhere/sd.safetensors", folder_.path());
  EXPECT_EQ(back.config().kind, ClipKind::kText);
  expect_same_weights(back, model);
}

TEST_F(ClipExportTest, WeightTypeIsAsAsked) {
  ClipModel model = load();
  ClipExportOptions options;
  options.target = "open_clip";
  options.dtype = at::kHalf;
  const ClipExport written = export_clip(model, options, folder_ / "half", {});
  const TensorArchive archive = TensorArchive::open(written.files.front());
  EXPECT_EQ(archive.find("visual.proj")->dtype, DType::kF16);
  EXPECT_EQ(archive.find("logit_scale")->dtype, DType::kF32);
  EXPECT_EQ(written.tensors, static_cast<int64_t>(archive.tensors().size()));
}

TEST_F(ClipExportTest, WhatATargetNeedsIsSaid) {
  ClipModel model = load();
  ClipModel text = import_clip(export_to(model, "diffusers"));
  for (const char* target : {"open_clip", "llava"}) {
    try {
      export_to(text, target);
      FAIL() << target;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(target), std::string::npos) << error.what();
    }
  }
  ClipExportOptions options;
  options.target = "gguf";
  EXPECT_THROW(export_clip(model, options, folder_ / "x", {}), UsageError);
}

TEST_F(ClipExportTest, UnknownAndMissingTensorsAreListed) {
  ClipModel model = load();
  const fs::path file = export_to(model, "open_clip");
  nn::NamedTensors tensors;
  const TensorArchive archive = TensorArchive::open(file);
  for (const auto& [name, view] : archive.tensors())
    if (name != "ln_final.bias") tensors.emplace_back(name, nn::to_tensor(view).clone());
  tensors.emplace_back("visual.stranger", at::zeros({2}));
  nn::save_tensors(file, tensors);
  const std::string message = data_error([&] { import_clip(folder_ / "open_clip"); });
  EXPECT_NE(message.find("missing 'text_model.final_layer_norm.bias'"), std::string::npos);
  EXPECT_NE(message.find("unexpected 'visual.stranger'"), std::string::npos);
}

TEST_F(ClipExportTest, ForeignOpenClipArchitecturesAreRefused) {
  ClipModel model = load();
  export_to(model, "open_clip");
  const fs::path file = folder_ / "open_clip" / "open_clip_config.json";
  nlohmann::json config = load_json(file);
  config["model_cfg"]["vision_cfg"]["timm_model_name"] = "vit_base";
  save_json(file, config);
  EXPECT_NE(data_error([&] { read_open_clip_config(file); }).find("timm_model_name"),
            std::string::npos);
  save_json(file, {{"model_cfg", {{"embed_dim", 12}}}});
  EXPECT_NE(data_error([&] { read_open_clip_config(file); }).find("text_cfg"), std::string::npos);
}

}  // namespace
}  // namespace parapet

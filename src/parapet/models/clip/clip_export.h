// CLIP weights for the neighbours (diffusers, ComfyUI, open_clip, LLaVA) and back.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "parapet/models/clip/clip.h"

namespace parapet {

// What export_clip can write:
//   hf             a CLIP folder of the same kind as the source
//   diffusers      text_encoder/ and tokenizer/ as in a pipeline's folder
//   comfyui        one file, clip_l.safetensors (by width also clip_h, clip_g), names that ComfyUI
//                  and stable-diffusion.cpp read
//   open_clip      open_clip_model.safetensors and open_clip_config.json
//   llava          vision_tower/ (a CLIPVisionModel folder, what LLaVA's mm_vision_tower takes) and
//                  llava_vision_tower.safetensors under the names of LLaVA on the hub
//   llava_original the same file under the names of LLaVA's own repository
std::vector<std::string> clip_export_targets();

struct ClipExportOptions {
  std::string target;
  // Undefined keeps each tensor as stored; else what weights are converted to. The logit scale
  // keeps its type.
  std::optional<at::ScalarType> dtype;
  bool projection = false;  // diffusers: CLIPTextModelWithProjection (SDXL's second encoder)
};

struct ClipExport {
  std::vector<std::filesystem::path> files;  // weights and configurations, in writing order
  int64_t tensors = 0;
  int64_t bytes = 0;  // of weights
};

// Writes `model` under `out`; tokenizer and preprocessor files come from `assets` when not empty.
// UsageError: the target needs a tower or projections that the model lacks, or cannot express its
// activation. DataError: files cannot be written.
ClipExport export_clip(const ClipModel& model, const ClipExportOptions& options,
                       const std::filesystem::path& out, const std::filesystem::path& assets);

// Reads a CLIP in any of the layouts, weights as stored. `path`: a folder or one safetensors file.
// The configuration comes from `config_from` (a Hugging Face folder) when given, else config.json
// or open_clip_config.json beside the weights, else what our own export recorded inside the file.
// DataError when there is none, or when it contradicts the weights.
ClipModel import_clip(const std::filesystem::path& path,
                      const std::filesystem::path& config_from = {});

}  // namespace parapet

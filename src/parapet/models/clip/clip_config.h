// CLIP's configuration as Hugging Face writes it.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <string>

#include "parapet/nn/layers.h"

namespace parapet {

struct ClipTextConfig {
  int64_t hidden_size = 512;
  int64_t intermediate_size = 2048;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 8;
  int64_t vocab_size = 49408;
  int64_t max_position_embeddings = 77;
  int64_t projection_dim = 512;
  int64_t bos_token_id = 49406;
  int64_t eos_token_id = 49407;  // 2 = legacy files: the pooled token is the largest id
  int64_t pad_token_id = 1;
  double layer_norm_eps = 1e-5;
  nn::Activation hidden_act = nn::Activation::kQuickGelu;
};

struct ClipVisionConfig {
  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t num_channels = 3;
  int64_t image_size = 224;
  int64_t patch_size = 32;
  int64_t projection_dim = 512;
  double layer_norm_eps = 1e-5;
  nn::Activation hidden_act = nn::Activation::kQuickGelu;
  int64_t patches() const { return (image_size / patch_size) * (image_size / patch_size); }
};

// Which `transformers` class the folder was saved from; decides names and which towers exist.
enum class ClipKind { kFull, kText, kTextWithProjection, kVision, kVisionWithProjection };

struct ClipConfig {
  ClipKind kind = ClipKind::kFull;
  ClipTextConfig text;
  ClipVisionConfig vision;
  int64_t projection_dim = 512;
  double logit_scale_init_value = 2.6592;

  bool has_text() const {
    return kind != ClipKind::kVision && kind != ClipKind::kVisionWithProjection;
  }
  bool has_vision() const {
    return kind != ClipKind::kText && kind != ClipKind::kTextWithProjection;
  }
  bool has_projection() const { return kind != ClipKind::kText && kind != ClipKind::kVision; }
  // Width of what encode_image and encode_text return: of the shared space, or of the tower itself
  // where there is no projection.
  int64_t embedding_dim() const {
    if (has_projection()) return projection_dim;
    return has_text() ? text.hidden_size : vision.hidden_size;
  }
  // Reads config.json; DataError names file and field for wrong types, sizes that do not divide,
  // and values beyond any published model (caps before allocation).
  static ClipConfig load(const std::filesystem::path& model_dir);
  // The same from the file's contents; `source` names it in errors.
  static ClipConfig parse(const nlohmann::json& object, const std::string& source);
  nlohmann::json to_json() const;
};

}  // namespace parapet

// LLaVA's configuration as Hugging Face writes it.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "parapet/models/clip/clip_config.h"
#include "parapet/models/llama/llama_config.h"
#include "parapet/models/siglip/siglip_vision.h"

namespace parapet {

struct LlavaConfig {
  std::variant<ClipVisionConfig, SiglipVisionConfig> vision;
  LlamaConfig text;
  int64_t image_token_id = 32000;  // stands in the ids once per patch
  // Which hidden states of the tower are read, as `transformers` counts them (negative: from the
  // end); several are concatenated.
  std::vector<int64_t> vision_feature_layers = {-2};
  bool drops_class_token = true;  // vision_feature_select_strategy "default", not "full"
  nn::Activation projector_hidden_act = nn::Activation::kGelu;
  bool multimodal_projector_bias = true;
  int64_t image_seq_length = 576;  // kept for processors; the slots follow from the tower

  int64_t vision_width() const;
  int64_t vision_layers() const;
  int64_t image_size() const;
  // Slots of one image in the ids.
  int64_t image_tokens() const;
  // A layer of vision_feature_layers counted from 0 = what enters the first layer.
  int64_t layer_index(int64_t layer) const;

  // DataError names file and field.
  static LlavaConfig load(const std::filesystem::path& model_dir);
  static LlavaConfig parse(const nlohmann::json& object, const std::string& source);
  nlohmann::json to_json() const;
};

}  // namespace parapet

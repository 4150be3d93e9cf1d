#include "parapet/models/siglip/siglip_vision.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/models/config_fields.h"

namespace parapet {

using nlohmann::json;

// ---- configuration ---------------------------------------------------------

SiglipVisionConfig SiglipVisionConfig::parse(const json& object, const std::string& source) {
  SiglipVisionConfig config;
  auto size = [&](const char* field, int64_t fallback, int64_t most) {
    return bounded_field(object, field, fallback, 1, most, source);
  };
  config.hidden_size = size("hidden_size", config.hidden_size, 65536);
  config.intermediate_size = size("intermediate_size", config.intermediate_size, 1 << 20);
  config.num_hidden_layers = size("num_hidden_layers", config.num_hidden_layers, 1024);
  config.num_attention_heads = size("num_attention_heads", config.num_attention_heads, 1024);
  config.image_size = size("image_size", config.image_size, 4096);
  config.patch_size = size("patch_size", config.patch_size, 4096);
  config.layer_norm_eps = bounded_number(object, "layer_norm_eps", 1e-6, 0, 1, source);
  config.hidden_act = nn::activation_from_name(
      json_field_or<std::string>(object, "hidden_act", "gelu_pytorch_tanh", source), source);
  config.vision_use_head = json_field_or<bool>(object, "vision_use_head", true, source);
  if (size("num_channels", 3, 1024) != 3)
    throw DataError(source, "field 'num_channels' must be 3", "Only RGB models can be loaded.");
  if (config.hidden_size % config.num_attention_heads != 0)
    throw DataError(source, "hidden_size is not a multiple of num_attention_heads");
  if (config.image_size < config.patch_size)
    throw DataError(source, "image_size is smaller than patch_size");
  if (json_field_or<double>(object, "attention_dropout", 0.0, source) != 0)
    throw DataError(source, "field 'attention_dropout' other than 0 is not supported");
  return config;
}

json SiglipVisionConfig::to_json() const {
  return {{"model_type", "siglip_vision_model"},
          {"hidden_size", hidden_size},
          {"intermediate_size", intermediate_size},
          {"num_hidden_layers", num_hidden_layers},
          {"num_attention_heads", num_attention_heads},
          {"num_channels", num_channels},
          {"image_size", image_size},
          {"patch_size", patch_size},
          {"layer_norm_eps", layer_norm_eps},
          {"hidden_act", nn::activation_name(hidden_act)},
          {"attention_dropout", 0.0},
          {"vision_use_head", vision_use_head}};
}

// ---- the tower -------------------------------------------------------------

SiglipPoolingHead::SiglipPoolingHead(const SiglipVisionConfig& config)
    : out_proj_(config.hidden_size, config.hidden_size, true),
      fc1_(config.hidden_size, config.intermediate_size, true),
      fc2_(config.intermediate_size, config.hidden_size, true),
      layernorm_(config.hidden_size, config.layer_norm_eps) {
  probe_.shape = {1, 1, config.hidden_size};
  in_proj_weight_.shape = {3 * config.hidden_size, config.hidden_size};
  in_proj_bias_.shape = {3 * config.hidden_size};
}

SiglipVisionTower::SiglipVisionTower(const SiglipVisionConfig& config)
    : config_(config),
      patch_embedding_(config.num_channels * config.patch_size * config.patch_size,
                       config.hidden_size, true, config.patch_size),
      position_embedding_(config.patches(), config.hidden_size),
      post_layernorm_(config.hidden_size, config.layer_norm_eps) {
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    layers_.emplace_back(config.hidden_size, config.intermediate_size, config.num_attention_heads,
                         config.layer_norm_eps, config.hidden_act);
  if (config.vision_use_head) head_ = SiglipPoolingHead(config);
}

at::Tensor SiglipVisionTower::after_layers(const at::Tensor& pixels, int64_t count) const {
  const at::Tensor patches =
      patch_embedding_.forward(cut_patches(pixels, config_.image_size, config_.patch_size));
  at::Tensor x = patches + position_embedding_.rows(config_.patches(), patches.scalar_type());
  for (int64_t i = 0; i < count; ++i) x = layers_[static_cast<size_t>(i)].forward(x, false, {});
  return x;
}

}  // namespace parapet

// SigLIP's vision tower (arXiv 2303.15343) as a part of multimodal models: patches without a class
// token through the same pre-normed layers as CLIP's.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parapet/models/clip/clip.h"
#include "parapet/nn/layers.h"
#include "parapet/nn/parameter.h"

namespace parapet {

struct SiglipVisionConfig {
  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t num_channels = 3;
  int64_t image_size = 224;
  int64_t patch_size = 16;
  double layer_norm_eps = 1e-6;
  nn::Activation hidden_act = nn::Activation::kGeluTanh;
  bool vision_use_head = true;  // whether files hold the pooling head

  int64_t patches() const { return (image_size / patch_size) * (image_size / patch_size); }
  // DataError names file and field, as ClipConfig::parse.
  static SiglipVisionConfig parse(const nlohmann::json& object, const std::string& source);
  nlohmann::json to_json() const;
};

// The head that pools by attention. Multimodal models do not use it; it is here so that folders are
// read and saved whole.
class SiglipPoolingHead {
 public:
  SiglipPoolingHead() = default;
  explicit SiglipPoolingHead(const SiglipVisionConfig& config);
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("probe", self.probe_);
    visit("attention.in_proj_weight", self.in_proj_weight_);
    visit("attention.in_proj_bias", self.in_proj_bias_);
    visit("attention.out_proj", self.out_proj_);
    visit("layernorm", self.layernorm_);
    visit("mlp.fc1", self.fc1_);
    visit("mlp.fc2", self.fc2_);
  }

 private:
  nn::Parameter probe_, in_proj_weight_, in_proj_bias_;
  nn::Linear out_proj_, fc1_, fc2_;
  nn::LayerNorm layernorm_;
};

class SiglipVisionTower {
 public:
  SiglipVisionTower() = default;
  explicit SiglipVisionTower(const SiglipVisionConfig& config);
  // pixels [n, 3, size, size], normalised -> [n, patches, width]: what enters the first layer for
  // 0, what leaves layer `count` else; layers above are not computed.
  at::Tensor after_layers(const at::Tensor& pixels, int64_t count) const;
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("embeddings.patch_embedding", self.patch_embedding_);
    visit("embeddings.position_embedding", self.position_embedding_);
    visit("encoder.layers", self.layers_);
    visit("post_layernorm", self.post_layernorm_);
    visit("head", self.head_);
  }

 private:
  SiglipVisionConfig config_;
  nn::Linear patch_embedding_;
  nn::Embedding position_embedding_;
  std::vector<ClipEncoderLayer> layers_;
  nn::LayerNorm post_layernorm_;
  std::optional<SiglipPoolingHead> head_;
};

}  // namespace parapet

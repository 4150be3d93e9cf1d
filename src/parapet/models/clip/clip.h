// CLIP (arXiv 2103.00020): two Transformer towers into one embedding space. Member names are
// Hugging Face's, so parameter paths are checkpoint names ("pre_layrnorm" really is spelt so).
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "parapet/models/clip/clip_config.h"
#include "parapet/models/model.h"
#include "parapet/nn/checkpoint.h"
#include "parapet/nn/layers.h"
#include "parapet/nn/lora.h"

namespace parapet {

class ClipAttention {
 public:
  ClipAttention() = default;
  ClipAttention(int64_t width, int64_t heads);
  // x [n, t, width]. `rows` (may be undefined): int64 [n], only that query row of each sample is
  // computed and the result is [n, 1, width].
  at::Tensor forward(const at::Tensor& x, bool causal, const at::Tensor& rows) const;
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("k_proj", self.k_proj_);
    visit("v_proj", self.v_proj_);
    visit("q_proj", self.q_proj_);
    visit("out_proj", self.out_proj_);
  }

 private:
  int64_t heads_ = 1;
  nn::Linear k_proj_, v_proj_, q_proj_, out_proj_;
};

class ClipEncoderLayer : public nn::Layer {
 public:
  ClipEncoderLayer() = default;
  ClipEncoderLayer(int64_t width, int64_t intermediate, int64_t heads, double eps,
                   nn::Activation activation);
  at::Tensor forward(const at::Tensor& x, bool causal, const at::Tensor& rows) const;
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("self_attn", self.self_attn_);
    visit("layer_norm1", self.layer_norm1_);
    visit("mlp.fc1", self.fc1_);
    visit("mlp.fc2", self.fc2_);
    visit("layer_norm2", self.layer_norm2_);
  }

 private:
  at::Tensor compute(const at::Tensor& x, bool causal, const at::Tensor& rows) const;
  nn::Activation activation_ = nn::Activation::kQuickGelu;
  ClipAttention self_attn_;
  nn::LayerNorm layer_norm1_, layer_norm2_;
  nn::Linear fc1_, fc2_;
};

// What a tower's forward can give. Hidden states are as in `transformers`: [0] enters the first
// layer, [i] leaves layer i; the last is before any final norm.
struct ClipHidden {
  std::vector<at::Tensor> hidden_states;  // layers + 1 of [n, t, width]
  at::Tensor last_hidden_state;  // text: after final_layer_norm; vision: = hidden_states.back()
  at::Tensor pooler_output;      // [n, width], normed
};

class ClipTextTower {
 public:
  ClipTextTower() = default;
  explicit ClipTextTower(const ClipTextConfig& config);
  // ids int64 [n, t] -> pooled [n, width]. Only what the pooled rows need is computed: the last
  // layer works on those rows alone. Columns beyond the batch's last pooled row may be cut off by
  // the caller; attention is causal, so the result is the same.
  at::Tensor pooled(const at::Tensor& ids, at::ScalarType dtype) const;
  ClipHidden hidden(const at::Tensor& ids, at::ScalarType dtype) const;
  // The row each text is pooled at, int64 [n] (both end-of-text rules).
  at::Tensor pooled_rows(const at::Tensor& ids) const;
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("embeddings.token_embedding", self.token_embedding_);
    visit("embeddings.position_embedding", self.position_embedding_);
    visit("encoder.layers", self.layers_);
    visit("final_layer_norm", self.final_layer_norm_);
  }

 private:
  at::Tensor embed(const at::Tensor& ids, at::ScalarType dtype) const;
  ClipTextConfig config_;
  nn::Embedding token_embedding_, position_embedding_;
  std::vector<ClipEncoderLayer> layers_;
  nn::LayerNorm final_layer_norm_;
};

// pixels [n, 3, size, size] -> [n, patches, 3 * patch * patch], in the order of a strided
// convolution's weights. DataError on another shape; `image_size` is the expected size.
at::Tensor cut_patches(const at::Tensor& pixels, int64_t image_size, int64_t patch_size);

class ClipVisionTower {
 public:
  ClipVisionTower() = default;
  explicit ClipVisionTower(const ClipVisionConfig& config);
  // pixels [n, 3, size, size], normalised -> pooled [n, width].
  at::Tensor pooled(const at::Tensor& pixels) const;
  ClipHidden hidden(const at::Tensor& pixels) const;
  // hidden_states[count] of `hidden`; layers above are not computed.
  at::Tensor after_layers(const at::Tensor& pixels, int64_t count) const;
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("embeddings.class_embedding", self.class_embedding_);
    visit("embeddings.patch_embedding", self.patch_embedding_);
    visit("embeddings.position_embedding", self.position_embedding_);
    visit("pre_layrnorm", self.pre_layrnorm_);
    visit("encoder.layers", self.layers_);
    visit("post_layernorm", self.post_layernorm_);
  }

 private:
  at::Tensor embed(const at::Tensor& pixels) const;
  ClipVisionConfig config_;
  nn::Parameter class_embedding_;
  nn::Linear patch_embedding_;
  nn::Embedding position_embedding_;
  nn::LayerNorm pre_layrnorm_, post_layernorm_;
  std::vector<ClipEncoderLayer> layers_;
};

class ClipModel final : public Model {
 public:
  explicit ClipModel(const ClipConfig& config);

  // A Hugging Face folder of any of the five classes. The logit scale is float32 unless kept as
  // stored.
  static ClipModel load(const std::filesystem::path& folder, const LoadModelOptions& options);
  static ClipModel load(const std::filesystem::path& folder, at::Device device = at::kCPU,
                        at::ScalarType dtype = at::kFloat,
                        TensorStorage storage = TensorStorage::kMapped) {
    return load(folder, LoadModelOptions{device, dtype, storage});
  }
  // Initialised as `transformers` does (factor 1.0), from our own seeded stream.
  static ClipModel random(const ClipConfig& config, uint64_t seed);

  const ClipConfig& config() const { return config_; }
  // Not normalised, [n, projection_dim] (or the pooled width without a projection), in `compute`.
  at::Tensor encode_text(const at::Tensor& ids) const;
  at::Tensor encode_image(const at::Tensor& pixels) const;
  // From pooled states to the shared space.
  at::Tensor project_text(const at::Tensor& pooled) const;
  at::Tensor project_image(const at::Tensor& pooled) const;
  const ClipTextTower& text_model() const { return text_model_; }
  const ClipVisionTower& vision_model() const { return vision_model_; }
  nn::Parameter& logit_scale() { return logit_scale_; }
  const nn::Parameter& logit_scale() const { return logit_scale_; }
  // Whether a single tower's names lack "text_model." / "vision_model." (transformers 5 style).
  bool bare_names() const { return bare_names_; }

  void walk(const nn::Visitor& visitor) override;
  void walk(const nn::ConstVisitor& visitor) const override;
  std::string_view family() const override { return "clip"; }
  nlohmann::json config_json() const override;
  nn::TensorMap tensor_map() const override;
  std::vector<std::string> lora_targets() const override;
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    if (self.config_.kind == ClipKind::kFull) visit("logit_scale", self.logit_scale_);
    if (self.config_.has_text()) visit(self.bare_names_ ? "" : "text_model", self.text_model_);
    if (self.config_.has_vision())
      visit(self.bare_names_ ? "" : "vision_model", self.vision_model_);
    visit("text_projection", self.text_projection_);
    visit("visual_projection", self.visual_projection_);
  }

 private:
  void init_parameter(const std::string& name, nn::Parameter& parameter, uint64_t seed) const;
  ClipConfig config_;
  bool bare_names_ = false;  // a single tower saved without "text_model." / "vision_model."
  ClipTextTower text_model_;
  ClipVisionTower vision_model_;
  std::optional<nn::Linear> text_projection_, visual_projection_;
  nn::Parameter logit_scale_;
};

// CLIP in the registry: model_type clip, clip_text_model, clip_vision_model.
ModelFamily clip_family();

}  // namespace parapet

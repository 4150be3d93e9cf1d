// CLIP (arXiv 2103.00020): two Transformer towers into one embedding space. Member names are
// Hugging Face's, so parameter paths are checkpoint names ("pre_layrnorm" really is spelt so).
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "parapet/models/clip/clip_config.h"
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
  void visit(const std::string& prefix, const nn::ParameterVisitor& visitor);
  void visit_linears(const std::string& prefix, const nn::LinearVisitor& visitor);

 private:
  int64_t heads_ = 1;
  nn::Linear k_proj_, v_proj_, q_proj_, out_proj_;
};

class ClipEncoderLayer {
 public:
  ClipEncoderLayer() = default;
  ClipEncoderLayer(int64_t width, int64_t intermediate, int64_t heads, double eps,
                   nn::Activation activation);
  at::Tensor forward(const at::Tensor& x, bool causal, const at::Tensor& rows) const;
  void visit(const std::string& prefix, const nn::ParameterVisitor& visitor);
  void visit_linears(const std::string& prefix, const nn::LinearVisitor& visitor);

 private:
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
  void visit(const std::string& prefix, const nn::ParameterVisitor& visitor);
  void visit_linears(const std::string& prefix, const nn::LinearVisitor& visitor);

 private:
  at::Tensor embed(const at::Tensor& ids, at::ScalarType dtype) const;
  ClipTextConfig config_;
  nn::Embedding token_embedding_, position_embedding_;
  std::vector<ClipEncoderLayer> layers_;
  nn::LayerNorm final_layer_norm_;
};

class ClipVisionTower {
 public:
  ClipVisionTower() = default;
  explicit ClipVisionTower(const ClipVisionConfig& config);
  // pixels [n, 3, size, size], normalised -> pooled [n, width].
  at::Tensor pooled(const at::Tensor& pixels) const;
  ClipHidden hidden(const at::Tensor& pixels) const;
  void visit(const std::string& prefix, const nn::ParameterVisitor& visitor);
  void visit_linears(const std::string& prefix, const nn::LinearVisitor& visitor);

 private:
  at::Tensor embed(const at::Tensor& pixels) const;
  ClipVisionConfig config_;
  nn::Parameter class_embedding_;
  nn::Linear patch_embedding_;
  nn::Embedding position_embedding_;
  nn::LayerNorm pre_layrnorm_, post_layernorm_;
  std::vector<ClipEncoderLayer> layers_;
};

class ClipModel {
 public:
  explicit ClipModel(const ClipConfig& config);
  ClipModel(ClipModel&&) = default;
  ClipModel& operator=(ClipModel&&) = default;

  // A Hugging Face folder of any of the five classes. `dtype` is the type weights are kept in
  // (Undefined = as stored); the logit scale is float32 unless kept as stored. Weights may stay in
  // the mapped file unless `storage` says otherwise.
  static ClipModel load(const std::filesystem::path& folder, at::Device device = at::kCPU,
                        at::ScalarType dtype = at::kFloat,
                        TensorStorage storage = TensorStorage::kMapped);
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
  // Whether a single tower's names lack "text_model." / "vision_model." (transformers 5 style).
  bool bare_names() const { return bare_names_; }
  // As `dtype` of config.json says it: "float32", "bfloat16", "float16", "float64".
  std::string weight_type_name();
  // The type activations are computed in; weights of another type are converted per call.
  void set_compute(at::ScalarType type) { compute_ = type; }
  at::ScalarType compute() const { return compute_; }
  // Adapter dropout.
  void set_training(bool training);

  void visit(const nn::ParameterVisitor& visitor);
  void visit_linears(const nn::LinearVisitor& visitor);
  nn::ParameterWalk parameters();
  nn::LinearWalk linears();

  // config.json and model.safetensors under the names the folder was loaded with; tokenizer and
  // preprocessor files are copied from `from` when given. Adapters must be merged or removed.
  void save(const std::filesystem::path& folder, const std::filesystem::path& from = {});

 private:
  void init_parameter(const std::string& name, nn::Parameter& parameter, uint64_t seed) const;
  ClipConfig config_;
  at::ScalarType compute_ = at::kFloat;
  bool bare_names_ = false;  // a single tower saved without "text_model." / "vision_model."
  ClipTextTower text_model_;
  ClipVisionTower vision_model_;
  nn::Linear text_projection_, visual_projection_;
  nn::Parameter logit_scale_;
};

// Files of a model folder that are not weights: tokenizer and preprocessor settings. Missing ones
// are skipped; returns what was copied.
std::vector<std::string> copy_model_assets(const std::filesystem::path& from,
                                           const std::filesystem::path& to);

}  // namespace parapet

// LLaVA 1.5 (arXiv 2310.03744): patch states of a CLIP or SigLIP tower, projected into the places
// of a language model's text that stand for them. Everything is differentiable, down to the pixels.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "parapet/models/clip/clip.h"
#include "parapet/models/llama/llama.h"
#include "parapet/models/llava/llava_config.h"
#include "parapet/models/siglip/siglip_vision.h"

namespace parapet {

// A text with pictures in it. The ids hold config().image_token_id once for every state of every
// picture; pictures follow each other in the order of their places, row by row.
struct LlavaInput {
  at::Tensor ids;     // int64 [b, t]
  at::Tensor pixels;  // [pictures, 3, size, size], normalised; or
  at::Tensor states;  // [pictures, image_tokens, width of the tower], kept from tower_states; or
                      // neither: text alone
  at::Tensor positions, embeds;  // as LlamaInput; embeds instead of all of the above
  nn::AttentionMask mask;
  nn::KvCache* cache = nullptr;
};

class LlavaProjector {
 public:
  LlavaProjector() = default;
  explicit LlavaProjector(const LlavaConfig& config);
  at::Tensor forward(const at::Tensor& x) const;
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("linear_1", self.linear_1_);
    visit("linear_2", self.linear_2_);
  }

 private:
  nn::Activation activation_ = nn::Activation::kGelu;
  nn::Linear linear_1_, linear_2_;
};

// How a folder nests the names of its tensors; one of each is written by some `transformers`.
struct LlavaNames {
  bool nested = false;       // "model.vision_tower.", "model.language_model.", "lm_head."
  bool vision_model = true;  // "vision_tower.vision_model." rather than "vision_tower."
};

class LlavaModel final : public Model {
 public:
  explicit LlavaModel(const LlavaConfig& config, const LlavaNames& names = {});
  static LlavaModel load(const std::filesystem::path& folder, const LoadModelOptions& options = {});

  const LlavaConfig& config() const { return config_; }
  const LlamaModel& language_model() const { return language_model_; }
  // What the projector reads of pixels [n, 3, size, size]: [n, image_tokens, width of the tower],
  // in `compute`. The tower's layers above those are not computed.
  at::Tensor tower_states(const at::Tensor& pixels) const;
  // -> [n, image_tokens, width of the language model].
  at::Tensor project(const at::Tensor& states) const;
  // The language model's input [b, t, width]: embedded ids with `features` in the places of
  // pictures. DataError with both counts when they are not as many.
  at::Tensor merge(const at::Tensor& ids, const at::Tensor& features) const;
  // As LlamaModel.
  at::Tensor hidden(const LlavaInput& input, std::vector<at::Tensor>* states = nullptr) const;
  at::Tensor logits(const at::Tensor& hidden) const { return language_model_.logits(hidden); }
  nn::TokenLoss loss(const LlavaInput& input, const at::Tensor& labels) const;
  nn::KvCache make_cache() const { return language_model_.make_cache(); }

  void walk(const nn::Visitor& visitor) override;
  void walk(const nn::ConstVisitor& visitor) const override;
  std::string_view family() const override { return "llava"; }
  nlohmann::json config_json() const override { return config_.to_json(); }
  nn::TensorMap tensor_map() const override;
  std::vector<std::string> lora_targets() const override;
  std::string_view peft_task() const override { return "CAUSAL_LM"; }
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("vision_tower", self.clip_tower_);
    visit("vision_tower", self.siglip_tower_);
    visit("multi_modal_projector", self.multi_modal_projector_);
    visit("language_model", self.language_model_);
  }

 private:
  at::Tensor embeds_of(const LlavaInput& input) const;
  LlavaConfig config_;
  LlavaNames names_;
  std::optional<ClipVisionTower> clip_tower_;  // one of the two
  std::optional<SiglipVisionTower> siglip_tower_;
  LlavaProjector multi_modal_projector_;
  LlamaModel language_model_;
};

// LLaVA in the registry: model_type llava.
ModelFamily llava_family();

}  // namespace parapet

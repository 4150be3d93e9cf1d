// Llama (arXiv 2302.13971, 2407.21783) and Qwen2 (arXiv 2407.10671): a decoder of pre-normed blocks
// with rotary positions, grouped heads and gated MLPs. Member names are Hugging Face's, so
// parameter paths are checkpoint names.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "parapet/models/llama/llama_config.h"
#include "parapet/models/model.h"
#include "parapet/nn/attention.h"
#include "parapet/nn/gated_mlp.h"
#include "parapet/nn/layers.h"
#include "parapet/nn/rms_norm.h"
#include "parapet/nn/token_loss.h"

namespace parapet {

struct ModelFamily;

struct LlamaInput {
  at::Tensor ids;        // int64 [b, t], or
  at::Tensor embeds;     // [b, t, width], what stands for ids: text mixed with other modalities
  at::Tensor positions;  // int64 [b or 1, t]; undefined: counted behind the cache, from the mask's
                         // starts or within its segments
  nn::AttentionMask mask;        // of all keys, those in the cache included; causal is implied
  nn::KvCache* cache = nullptr;  // for inference; receives the keys and values of this pass
};

// What every block of one pass is given.
struct LlamaPass {
  nn::RotaryTable rotary;
  nn::ResolvedMask mask;
  nn::KvCache* cache = nullptr;
};

class LlamaAttention {
 public:
  LlamaAttention() = default;
  explicit LlamaAttention(const LlamaConfig& config);
  at::Tensor forward(const at::Tensor& x, const LlamaPass& pass, int64_t layer) const;
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("q_proj", self.q_proj_);
    visit("k_proj", self.k_proj_);
    visit("v_proj", self.v_proj_);
    visit("o_proj", self.o_proj_);
  }

 private:
  int64_t heads_ = 1, kv_heads_ = 1;
  nn::Linear q_proj_, k_proj_, v_proj_, o_proj_;
};

class LlamaDecoderLayer : public nn::Layer {
 public:
  LlamaDecoderLayer() = default;
  explicit LlamaDecoderLayer(const LlamaConfig& config);
  // x [b, t, width]. `layer` is its number, for the cache.
  at::Tensor forward(const at::Tensor& x, const LlamaPass& pass, int64_t layer) const;
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("self_attn", self.self_attn_);
    visit("mlp", self.mlp_);
    visit("input_layernorm", self.input_layernorm_);
    visit("post_attention_layernorm", self.post_attention_layernorm_);
  }

 private:
  at::Tensor compute(const at::Tensor& x, const LlamaPass& pass, int64_t layer) const;
  LlamaAttention self_attn_;
  nn::GatedMlp mlp_;
  nn::RmsNorm input_layernorm_, post_attention_layernorm_;
};

// The part below the output layer, which multimodal models take whole.
class LlamaDecoder {
 public:
  LlamaDecoder() = default;
  explicit LlamaDecoder(const LlamaConfig& config);
  // ids int64 [...] -> [..., width]. DataError on an id outside the table.
  at::Tensor embed(const at::Tensor& ids, at::ScalarType dtype) const;
  // The last hidden states, normed, [b, t, width] in `dtype`. `states` (may be null) receives all
  // hidden states as `transformers` counts them: [0] enters the first block, [i] leaves block i,
  // but the last is normed.
  at::Tensor forward(const LlamaInput& input, at::ScalarType dtype,
                     std::vector<at::Tensor>* states = nullptr) const;
  const nn::Embedding& embed_tokens() const { return embed_tokens_; }
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("embed_tokens", self.embed_tokens_);
    visit("layers", self.layers_);
    visit("norm", self.norm_);
  }

 private:
  LlamaPass begin(const LlamaInput& input, const at::Tensor& x) const;
  int64_t heads_ = 1;
  nn::Embedding embed_tokens_;
  std::vector<LlamaDecoderLayer> layers_;
  nn::RmsNorm norm_;
  nn::Rotary rotary_;
};

class LlamaModel final : public Model {
 public:
  explicit LlamaModel(const LlamaConfig& config);

  static LlamaModel load(const std::filesystem::path& folder, const LoadModelOptions& options = {});
  // Initialised as `transformers` does, from our own seeded stream.
  static LlamaModel random(const LlamaConfig& config, uint64_t seed);

  const LlamaConfig& config() const { return config_; }
  const LlamaDecoder& decoder() const { return model_; }
  // Last hidden states [b, t, width], and all of them on request, as LlamaDecoder::forward.
  at::Tensor hidden(const LlamaInput& input, std::vector<at::Tensor>* states = nullptr) const;
  // hidden [..., width] -> [..., vocab].
  at::Tensor logits(const at::Tensor& hidden) const;
  // Of each label from what stands before it, see nn::next_token_loss; all logits never exist
  // together. Labels int64 [b, t], as long as the input.
  nn::TokenLoss loss(const LlamaInput& input, const at::Tensor& labels) const;
  // The same from last hidden states [b, t, width].
  nn::TokenLoss loss_of(const at::Tensor& hidden, const at::Tensor& labels) const;
  // A cache for this model, bounded by its context.
  nn::KvCache make_cache() const;

  void walk(const nn::Visitor& visitor) override;
  void walk(const nn::ConstVisitor& visitor) const override;
  std::string_view family() const override { return "llama"; }
  nlohmann::json config_json() const override;
  nn::TensorMap tensor_map() const override;
  std::vector<std::string> lora_targets() const override;
  std::string_view peft_task() const override { return "CAUSAL_LM"; }
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("model", self.model_);
    visit("lm_head", self.lm_head_);
  }

 private:
  at::Tensor head_weight() const;
  LlamaConfig config_;
  LlamaDecoder model_;
  std::optional<nn::Linear> lm_head_;  // none where it is the embedding table
};

// Llama in the registry: model_type llama and qwen2.
ModelFamily llama_family();

}  // namespace parapet

#include "parapet/models/llama/llama.h"

#include <ATen/ATen.h>

#include <tuple>

#include "parapet/core/error.h"
#include "parapet/nn/as_type.h"
#include "parapet/nn/lora_off.h"
#include "parapet/nn/recompute.h"

namespace parapet {
namespace {

// Each token's place in its own text.
at::Tensor positions_of(const LlamaInput& input, const at::Tensor& x) {
  if (input.positions.defined()) return input.positions.to(x.device());
  const int64_t past = input.cache != nullptr ? input.cache->length() : 0, count = x.size(1);
  const nn::AttentionMask& mask = input.mask;
  if (mask.segments.defined())
    return nn::positions_in_segments(mask.segments.to(x.device())).slice(1, past, past + count);
  if (mask.starts.defined())
    return nn::positions_from_starts(mask.starts.to(x.device()), past, count);
  return at::arange(past, past + count, x.options().dtype(at::kLong)).unsqueeze(0);
}

}  // namespace

// ---- the block -------------------------------------------------------------

LlamaAttention::LlamaAttention(const LlamaConfig& config)
    : heads_(config.num_attention_heads),
      kv_heads_(config.num_key_value_heads),
      q_proj_(config.hidden_size, heads_ * config.head_dim, config.attention_bias),
      k_proj_(config.hidden_size, kv_heads_ * config.head_dim, config.attention_bias),
      v_proj_(config.hidden_size, kv_heads_ * config.head_dim, config.attention_bias),
      o_proj_(heads_ * config.head_dim, config.hidden_size, config.output_bias) {}

at::Tensor LlamaAttention::forward(const at::Tensor& x, const LlamaPass& pass,
                                   int64_t layer) const {
  const at::Tensor q = nn::apply_rotary(nn::split_heads(q_proj_.forward(x), heads_), pass.rotary);
  at::Tensor k = nn::apply_rotary(nn::split_heads(k_proj_.forward(x), kv_heads_), pass.rotary);
  at::Tensor v = nn::split_heads(v_proj_.forward(x), kv_heads_);
  if (pass.cache != nullptr) std::tie(k, v) = pass.cache->append(layer, k, v);
  return o_proj_.forward(nn::join_heads(nn::attention(q, k, v, pass.mask)));
}

LlamaDecoderLayer::LlamaDecoderLayer(const LlamaConfig& config)
    : self_attn_(config),
      mlp_(config.hidden_size, config.intermediate_size, config.mlp_bias, config.hidden_act),
      input_layernorm_(config.hidden_size, config.rms_norm_eps),
      post_attention_layernorm_(config.hidden_size, config.rms_norm_eps) {}

at::Tensor LlamaDecoderLayer::compute(const at::Tensor& x, const LlamaPass& pass,
                                      int64_t layer) const {
  const at::Tensor middle = x + self_attn_.forward(input_layernorm_.forward(x), pass, layer);
  return middle + mlp_.forward(post_attention_layernorm_.forward(middle));
}

at::Tensor LlamaDecoderLayer::forward(const at::Tensor& x, const LlamaPass& pass,
                                      int64_t layer) const {
  if (!recompute) return compute(x, pass, layer);
  return nn::recompute(
      [this, pass, layer](const std::vector<at::Tensor>& inputs) {
        return compute(inputs[0], pass, layer);
      },
      {x});
}

// ---- the decoder -----------------------------------------------------------

LlamaDecoder::LlamaDecoder(const LlamaConfig& config)
    : heads_(config.num_attention_heads),
      embed_tokens_(config.vocab_size, config.hidden_size),
      norm_(config.hidden_size, config.rms_norm_eps),
      rotary_(config.rotary) {
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) layers_.emplace_back(config);
}

at::Tensor LlamaDecoder::embed(const at::Tensor& ids, at::ScalarType dtype) const {
  nn::check_ids(ids, embed_tokens_.size(), "text");
  return embed_tokens_.forward(ids, dtype);
}

LlamaPass LlamaDecoder::begin(const LlamaInput& input, const at::Tensor& x) const {
  const int64_t past = input.cache != nullptr ? input.cache->length() : 0;
  nn::AttentionMask mask = input.mask;
  mask.causal = true;
  return {rotary_.table(positions_of(input, x), x.scalar_type()),
          mask.resolve({x.size(0), heads_, x.size(1), past + x.size(1)},
                       at::TensorOptions().dtype(x.scalar_type()).device(x.device())),
          input.cache};
}

at::Tensor LlamaDecoder::forward(const LlamaInput& input, at::ScalarType dtype,
                                 std::vector<at::Tensor>* states) const {
  if (input.ids.defined() == input.embeds.defined())
    throw Error(ErrorKind::kInternal, "Llama: either ids or embeddings must be given");
  at::Tensor x = input.ids.defined() ? embed(input.ids, dtype) : nn::as_type(input.embeds, dtype);
  const LlamaPass pass = begin(input, x);
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (states != nullptr) states->push_back(x);
    x = layers_[i].forward(x, pass, static_cast<int64_t>(i));
  }
  x = norm_.forward(x);
  if (states != nullptr) states->push_back(x);
  return x;
}

// ---- with the output layer -------------------------------------------------

LlamaModel::LlamaModel(const LlamaConfig& config) : config_(config), model_(config) {
  if (!config.tie_word_embeddings)
    lm_head_ = nn::Linear(config.hidden_size, config.vocab_size, false);
}

at::Tensor LlamaModel::hidden(const LlamaInput& input, std::vector<at::Tensor>* states) const {
  return model_.forward(input, compute(), states);
}

at::Tensor LlamaModel::logits(const at::Tensor& hidden) const {
  if (lm_head_) return lm_head_->forward(hidden);
  return at::linear(hidden,
                    nn::as_type(model_.embed_tokens().weight().value, hidden.scalar_type()));
}

// The output layer as one matrix, an adapter included.
at::Tensor LlamaModel::head_weight() const {
  if (!lm_head_) return model_.embed_tokens().weight().value;
  const nn::LoraAdapter* lora = lm_head_->lora.get();
  if (lora == nullptr || nn::LoraOff::active()) return lm_head_->matrix();
  if (lm_head_->training && lora->dropout > 0)
    throw UsageError("an adapter on lm_head cannot have dropout; use --lora-dropout 0");
  return at::addmm(nn::as_type(lm_head_->matrix(), at::kFloat), lora->b, lora->a, 1.0, lora->scale);
}

nn::TokenLoss LlamaModel::loss(const LlamaInput& input, const at::Tensor& labels) const {
  return loss_of(hidden(input), labels);
}

nn::TokenLoss LlamaModel::loss_of(const at::Tensor& hidden, const at::Tensor& labels) const {
  return nn::next_token_loss(hidden, head_weight(), labels);
}

nn::KvCache LlamaModel::make_cache() const {
  return nn::KvCache(config_.num_hidden_layers, config_.max_position_embeddings);
}

void LlamaModel::walk(const nn::Visitor& visitor) { nn::walk_parts("", *this, visitor); }
void LlamaModel::walk(const nn::ConstVisitor& visitor) const { nn::walk_parts("", *this, visitor); }

}  // namespace parapet

#include "parapet/models/clip/clip.h"

#include <ATen/ATen.h>

#include "parapet/core/error.h"
#include "parapet/nn/as_type.h"
#include "parapet/nn/attention.h"
#include "parapet/nn/recompute.h"

namespace parapet {
namespace {

// x [n, t, width], rows int64 [n] -> [n, 1, width].
at::Tensor take_rows(const at::Tensor& x, const at::Tensor& rows) {
  return x.gather(1, rows.view({-1, 1, 1}).expand({-1, 1, x.size(2)}));
}

// A plain float32 layer whose own weights are being trained.
bool trains_whole(const nn::Linear& linear) {
  return !linear.lora && linear.weight().value.requires_grad() && at::GradMode::is_enabled() &&
         linear.weight().value.scalar_type() == at::kFloat;
}

}  // namespace

// ---- the Transformer layer -------------------------------------------------

ClipAttention::ClipAttention(int64_t width, int64_t heads)
    : heads_(heads),
      k_proj_(width, width, true),
      v_proj_(width, width, true),
      q_proj_(width, width, true),
      out_proj_(width, width, true) {}

at::Tensor ClipAttention::forward(const at::Tensor& x, bool causal, const at::Tensor& rows) const {
  auto by_head = [&](const at::Tensor& y) { return nn::split_heads(y, heads_); };
  if (!rows.defined() && x.scalar_type() == at::kFloat && trains_whole(q_proj_) &&
      trains_whole(k_proj_) && trains_whole(v_proj_)) {
    // Whole weights in training: one product over the stacked weights, forward and backward. (For
    // inference the copy would cost more than it saves.)
    const at::Tensor qkv =
        at::linear(x, at::cat({q_proj_.matrix(), k_proj_.matrix(), v_proj_.matrix()}),
                   at::cat({q_proj_.bias().value, k_proj_.bias().value, v_proj_.bias().value}));
    const auto parts = qkv.chunk(3, -1);
    return out_proj_.forward(
        nn::join_heads(nn::attention(by_head(parts[0]), by_head(parts[1]), by_head(parts[2]),
                                     nn::AttentionMask{.causal = causal})));
  }
  const at::Tensor k = by_head(k_proj_.forward(x));
  const at::Tensor v = by_head(v_proj_.forward(x));
  // A pooled row sees itself and what comes before it.
  nn::AttentionMask mask{.causal = causal && !rows.defined()};
  if (causal && rows.defined()) mask.lengths = rows + 1;
  const at::Tensor q = by_head(q_proj_.forward(rows.defined() ? take_rows(x, rows) : x));
  return out_proj_.forward(nn::join_heads(nn::attention(q, k, v, mask)));
}

ClipEncoderLayer::ClipEncoderLayer(int64_t width, int64_t intermediate, int64_t heads, double eps,
                                   nn::Activation activation)
    : activation_(activation),
      self_attn_(width, heads),
      layer_norm1_(width, eps),
      layer_norm2_(width, eps),
      fc1_(width, intermediate, true),
      fc2_(intermediate, width, true) {}

at::Tensor ClipEncoderLayer::forward(const at::Tensor& x, bool causal,
                                     const at::Tensor& rows) const {
  if (!recompute) return compute(x, causal, rows);
  return nn::recompute(
      [this, causal, rows](const std::vector<at::Tensor>& inputs) {
        return compute(inputs[0], causal, rows);
      },
      {x});
}

at::Tensor ClipEncoderLayer::compute(const at::Tensor& x, bool causal,
                                     const at::Tensor& rows) const {
  const at::Tensor attended = self_attn_.forward(layer_norm1_.forward(x), causal, rows);
  const at::Tensor middle = (rows.defined() ? take_rows(x, rows) : x) + attended;
  const at::Tensor inner = nn::activate(fc1_.forward(layer_norm2_.forward(middle)), activation_);
  return middle + fc2_.forward(inner);
}

// ---- text ------------------------------------------------------------------

ClipTextTower::ClipTextTower(const ClipTextConfig& config)
    : config_(config),
      token_embedding_(config.vocab_size, config.hidden_size),
      position_embedding_(config.max_position_embeddings, config.hidden_size),
      final_layer_norm_(config.hidden_size, config.layer_norm_eps) {
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    layers_.emplace_back(config.hidden_size, config.intermediate_size, config.num_attention_heads,
                         config.layer_norm_eps, config.hidden_act);
}

at::Tensor ClipTextTower::embed(const at::Tensor& ids, at::ScalarType dtype) const {
  if (ids.size(1) > config_.max_position_embeddings)
    throw DataError("text", "has " + std::to_string(ids.size(1)) + " tokens, the model takes " +
                                std::to_string(config_.max_position_embeddings));
  nn::check_ids(ids, config_.vocab_size, "text");
  return token_embedding_.forward(ids, dtype) + position_embedding_.rows(ids.size(1), dtype);
}

at::Tensor ClipTextTower::pooled_rows(const at::Tensor& ids) const {
  if (config_.eos_token_id == 2) return ids.argmax(1);
  return ids.eq(config_.eos_token_id).to(at::kInt).argmax(1);
}

at::Tensor ClipTextTower::pooled(const at::Tensor& ids, at::ScalarType dtype) const {
  const at::Tensor rows = pooled_rows(ids);
  at::Tensor x = embed(ids, dtype);
  for (size_t i = 0; i < layers_.size(); ++i)
    x = layers_[i].forward(x, true, i + 1 == layers_.size() ? rows : at::Tensor());
  return final_layer_norm_.forward(x.squeeze(1));
}

ClipHidden ClipTextTower::hidden(const at::Tensor& ids, at::ScalarType dtype) const {
  ClipHidden out;
  out.hidden_states.push_back(embed(ids, dtype));
  for (const auto& layer : layers_)
    out.hidden_states.push_back(layer.forward(out.hidden_states.back(), true, {}));
  out.last_hidden_state = final_layer_norm_.forward(out.hidden_states.back());
  out.pooler_output = take_rows(out.last_hidden_state, pooled_rows(ids)).squeeze(1);
  return out;
}

// ---- vision ----------------------------------------------------------------

ClipVisionTower::ClipVisionTower(const ClipVisionConfig& config)
    : config_(config),
      patch_embedding_(config.num_channels * config.patch_size * config.patch_size,
                       config.hidden_size, false, config.patch_size),
      position_embedding_(config.patches() + 1, config.hidden_size),
      pre_layrnorm_(config.hidden_size, config.layer_norm_eps),
      post_layernorm_(config.hidden_size, config.layer_norm_eps) {
  class_embedding_.shape = {config.hidden_size};
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    layers_.emplace_back(config.hidden_size, config.intermediate_size, config.num_attention_heads,
                         config.layer_norm_eps, config.hidden_act);
}

at::Tensor cut_patches(const at::Tensor& pixels, int64_t image_size, int64_t patch_size) {
  if (pixels.dim() != 4 || pixels.size(1) != 3 || pixels.size(2) != image_size ||
      pixels.size(3) != image_size)
    throw DataError("pixels", "must be [n, 3, " + std::to_string(image_size) + ", " +
                                  std::to_string(image_size) + "]");
  const int64_t n = pixels.size(0), p = patch_size;
  // Pixels beyond the last whole patch are unused, as in a strided convolution.
  const int64_t grid = image_size / p;
  const at::Tensor whole = pixels.slice(2, 0, grid * p).slice(3, 0, grid * p);
  return whole.reshape({n, 3, grid, p, grid, p})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({n, grid * grid, 3 * p * p});
}

at::Tensor ClipVisionTower::embed(const at::Tensor& pixels) const {
  const at::Tensor patches = cut_patches(pixels, config_.image_size, config_.patch_size);
  const int64_t n = pixels.size(0), count = patches.size(1);
  const at::Tensor embedded = patch_embedding_.forward(patches);
  const auto type = embedded.scalar_type();
  const at::Tensor cls =
      nn::as_type(class_embedding_.value, type).view({1, 1, -1}).expand({n, 1, embedded.size(2)});
  const at::Tensor x = at::cat({cls, embedded}, 1) + position_embedding_.rows(count + 1, type);
  return pre_layrnorm_.forward(x);
}

at::Tensor ClipVisionTower::pooled(const at::Tensor& pixels) const {
  at::Tensor x = embed(pixels);
  const at::Tensor rows =
      at::zeros({pixels.size(0)}, at::TensorOptions().dtype(at::kLong).device(pixels.device()));
  for (size_t i = 0; i < layers_.size(); ++i)
    x = layers_[i].forward(x, false, i + 1 == layers_.size() ? rows : at::Tensor());
  return post_layernorm_.forward(x.squeeze(1));
}

ClipHidden ClipVisionTower::hidden(const at::Tensor& pixels) const {
  ClipHidden out;
  out.hidden_states.push_back(embed(pixels));
  for (const auto& layer : layers_)
    out.hidden_states.push_back(layer.forward(out.hidden_states.back(), false, {}));
  out.last_hidden_state = out.hidden_states.back();
  out.pooler_output = post_layernorm_.forward(out.last_hidden_state.select(1, 0));
  return out;
}

at::Tensor ClipVisionTower::after_layers(const at::Tensor& pixels, int64_t count) const {
  at::Tensor x = embed(pixels);
  for (int64_t i = 0; i < count; ++i) x = layers_[static_cast<size_t>(i)].forward(x, false, {});
  return x;
}

// ---- both towers -----------------------------------------------------------

ClipModel::ClipModel(const ClipConfig& config) : config_(config) {
  const bool projects = config.kind != ClipKind::kText && config.kind != ClipKind::kVision;
  if (config.has_text()) {
    text_model_ = ClipTextTower(config.text);
    if (projects)
      text_projection_ = nn::Linear(config.text.hidden_size, config.projection_dim, false);
  }
  if (config.has_vision()) {
    vision_model_ = ClipVisionTower(config.vision);
    if (projects)
      visual_projection_ = nn::Linear(config.vision.hidden_size, config.projection_dim, false);
  }
}

at::Tensor ClipModel::project_text(const at::Tensor& pooled) const {
  return text_projection_ ? text_projection_->forward(pooled) : pooled;
}

at::Tensor ClipModel::project_image(const at::Tensor& pooled) const {
  return visual_projection_ ? visual_projection_->forward(pooled) : pooled;
}

at::Tensor ClipModel::encode_text(const at::Tensor& ids) const {
  return project_text(text_model_.pooled(ids, compute()));
}

at::Tensor ClipModel::encode_image(const at::Tensor& pixels) const {
  return project_image(vision_model_.pooled(nn::as_type(pixels, compute())));
}

void ClipModel::walk(const nn::Visitor& visitor) { nn::walk_parts("", *this, visitor); }
void ClipModel::walk(const nn::ConstVisitor& visitor) const { nn::walk_parts("", *this, visitor); }

}  // namespace parapet

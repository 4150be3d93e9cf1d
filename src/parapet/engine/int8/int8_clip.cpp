#include "parapet/engine/int8/int8_clip.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "parapet/core/error.h"
#include "parapet/engine/encoder/clip_patches.h"

namespace parapet {
namespace {

using int8::Linear;
using int8::Norm;

std::string obstacle_in(const std::string& tower, int64_t width, int64_t inner, int64_t heads) {
  const auto odd = [](int64_t n) { return n % int8::kPanel != 0; };
  if (odd(width) || odd(inner))
    return "the " + tower + " tower's widths (" + std::to_string(width) + ", " +
           std::to_string(inner) + ") are not multiples of 64";
  if (width / heads % 4 != 0)
    return "the " + tower + " tower's heads are " + std::to_string(width / heads) + " wide";
  return "";
}

// Weights and ranges of one tower, by name.
class Source {
 public:
  Source(const ClipModel& model, const QuantizationRanges& ranges, std::string tower)
      : ranges_(ranges), tower_(std::move(tower)) {
    const std::string prefix = model.bare_names() ? "" : tower_ + "_model.";
    nn::each_parameter(model, [&](const std::string& name, const nn::Parameter& parameter) {
      if (!parameter.value.defined()) return;
      const at::Tensor value = parameter.value.detach();
      weights_[name] = value;
      if (name.starts_with(prefix)) weights_[name.substr(prefix.size())] = value;
    });
  }

  bool has(const std::string& name) const { return weights_.count(name) > 0; }
  at::Tensor get(const std::string& name) const {
    const auto found = weights_.find(name);
    if (found == weights_.end())
      throw Error(ErrorKind::kInternal, "int8 tower needs the weight " + name);
    return found->second.to(at::kFloat);
  }
  const QuantizationPoint& point(int64_t layer, const char* name) const {
    return ranges_.points.at(tower_ + ".layers." + std::to_string(layer) + "." + name);
  }
  static float step(const QuantizationPoint& at) {
    return std::max(at.high - at.low, 1e-12F) / 255;
  }
  // What the activation is divided by; ones where nothing is smoothed.
  static at::Tensor smooth(const QuantizationPoint& at, int64_t channels) {
    return at.smooth.empty() ? at::ones({channels}) : at::tensor(at.smooth);
  }

  Norm norm(const std::string& name, double eps) const {
    return {get(name + ".weight").contiguous(), get(name + ".bias").contiguous(),
            static_cast<float>(eps)};
  }
  // A norm whose outputs are the bytes of a point.
  Norm norm(const std::string& name, double eps, const QuantizationPoint& at) const {
    Norm norm = this->norm(name, eps);
    const at::Tensor divide = smooth(at, norm.gain.size(0));
    norm.gain = (norm.gain / divide / step(at)).contiguous();
    norm.shift = ((norm.shift / divide - at.low) / step(at)).contiguous();
    return norm;
  }
  // A layer that reads the bytes of a point; its outputs divided by `divide` where that is defined.
  Linear linear(const std::string& name, const QuantizationPoint& at,
                const at::Tensor& divide = {}) const {
    at::Tensor weight = get(name + ".weight"), bias = get(name + ".bias");
    weight = weight * smooth(at, weight.size(1));
    if (divide.defined()) {
      weight = weight / divide.unsqueeze(1);
      bias = bias / divide;
    }
    return int8::pack(weight, bias, at.low, step(at));
  }

  Int8Layer layer(int64_t index, const Int8Parts& parts, double eps) const {
    const std::string name = "encoder.layers." + std::to_string(index) + ".";
    const QuantizationPoint &qkv = point(index, "qkv"), &q = point(index, "q"),
                            &k = point(index, "k"), &out = point(index, "out"),
                            &fc1 = point(index, "fc1"), &fc2 = point(index, "fc2");
    Int8Layer layer;
    layer.norm1 = norm(name + "layer_norm1", eps, qkv);
    layer.norm2 = norm(name + "layer_norm2", eps, fc1);
    layer.q = linear(name + "self_attn.q_proj", qkv);
    int8::scale_output(layer.q, q.low, step(q), 0);
    layer.k = linear(name + "self_attn.k_proj", qkv);
    int8::scale_output(layer.k, k.low, step(k), -128);
    layer.v = linear(name + "self_attn.v_proj", qkv, smooth(out, parts.width));
    layer.out = linear(name + "self_attn.out_proj", out);
    layer.fc1 = linear(name + "mlp.fc1", fc1);
    layer.fc2 = linear(name + "mlp.fc2", fc2);
    const int64_t head_width = parts.width / parts.heads;
    const float root = std::sqrt(static_cast<float>(head_width));
    layer.attention = {.q_low = q.low / root,
                       .q_step = step(q) / root,
                       .k_zero = k.low + 128 * step(k),
                       .k_step = step(k),
                       .out_low = out.low,
                       .out_step = step(out)};
    layer.gain = (1 / smooth(fc2, parts.inner) / step(fc2)).contiguous();
    layer.offset = -fc2.low / step(fc2);
    return layer;
  }

  // The layers, and what comes after them.
  void complete(Int8Parts& parts, int64_t layers, double eps, const std::string& after,
                const std::string& projection) const {
    for (int64_t i = 0; i < layers; ++i) parts.layers.push_back(layer(i, parts, eps));
    parts.after = norm(after, eps);
    if (has(projection)) parts.projection = get(projection).t().contiguous();
    parts.dim = parts.projection.defined() ? parts.projection.size(1) : parts.width;
  }

 private:
  const QuantizationRanges& ranges_;
  std::string tower_;
  std::map<std::string, at::Tensor> weights_;
};

}  // namespace

std::string Int8Tower::obstacle(const ClipConfig& config, const QuantizationRanges& ranges) {
  if (!int8::supported()) return "this processor has no AVX-512 VNNI";
  for (const auto& [name, point] : ranges.points)
    if (point.keep_float) return "the ranges keep " + name + " in float";
  const ClipVisionConfig& vision = config.vision;
  const ClipTextConfig& text = config.text;
  std::string found;
  if (config.has_vision())
    found = obstacle_in("image", vision.hidden_size, vision.intermediate_size,
                        vision.num_attention_heads);
  if (found.empty() && config.has_text())
    found = obstacle_in("text", text.hidden_size, text.intermediate_size, text.num_attention_heads);
  if (found.empty() && config.embedding_dim() % int8::kPanel != 0)
    found = "embeddings of " + std::to_string(config.embedding_dim()) + " are not a multiple of 64";
  return found;
}

Int8Tower Int8Tower::vision(const ClipModel& model, const ImageProcessor& processor,
                            const QuantizationRanges& ranges) {
  const ClipVisionConfig& config = model.config().vision;
  const Source source(model, ranges, "vision");
  Int8Parts parts{.width = config.hidden_size,
                  .heads = config.num_attention_heads,
                  .inner = config.intermediate_size,
                  .activation = config.hidden_act};
  const LinearWeights patch =
      patch_weights(source.get("embeddings.patch_embedding.weight"), processor);
  parts.patch = int8::pack(patch.weight, {}, 0, 1);
  parts.offsets = source.get("embeddings.position_embedding.weight").clone();
  parts.offsets.slice(0, 1) += patch.bias;
  parts.offsets.select(0, 0) += source.get("embeddings.class_embedding");
  parts.offsets = parts.offsets.contiguous();
  parts.before = source.norm("pre_layrnorm", config.layer_norm_eps);
  source.complete(parts, config.num_hidden_layers, config.layer_norm_eps, "post_layernorm",
                  "visual_projection.weight");
  return Int8Tower(std::move(parts));
}

Int8Tower Int8Tower::text(const ClipModel& model, const QuantizationRanges& ranges) {
  const ClipTextConfig& config = model.config().text;
  const Source source(model, ranges, "text");
  Int8Parts parts{.width = config.hidden_size,
                  .heads = config.num_attention_heads,
                  .inner = config.intermediate_size,
                  .causal = true,
                  .activation = config.hidden_act};
  source.complete(parts, config.num_hidden_layers, config.layer_norm_eps, "final_layer_norm",
                  "text_projection.weight");
  return Int8Tower(std::move(parts));
}

at::Tensor Int8Tower::run_patches(const at::Tensor& patches, Crew& crew) const {
  const int64_t count = patches.size(0), rows = patches.size(1);
  Int8Sequences all;
  for (int64_t i = 0; i <= count; ++i) all.starts.push_back(i * rows);
  return run_int8_tower(parts_, std::move(all),
                        at::empty({count * rows, parts_->width}, at::kFloat), patches.contiguous(),
                        crew);
}

at::Tensor Int8Tower::run_embeddings(const at::Tensor& embeddings, const at::Tensor& pooled,
                                     Crew& crew) const {
  const at::Tensor ends = pooled.contiguous();
  const auto* last = ends.const_data_ptr<int32_t>();
  Int8Sequences all{.starts = {0}, .pool_first = false};
  for (int64_t i = 0; i < embeddings.size(0); ++i)
    all.starts.push_back(all.starts.back() + last[i] + 1);
  const at::Tensor x = at::empty({all.starts.back(), parts_->width}, at::kFloat);
  for (int64_t i = 0; i < embeddings.size(0); ++i)
    x.slice(0, all.starts[i], all.starts[i + 1])
        .copy_(embeddings.select(0, i).slice(0, 0, last[i] + 1));
  return run_int8_tower(parts_, std::move(all), x, {}, crew);
}

}  // namespace parapet

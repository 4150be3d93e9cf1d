#include "parapet/models/clip/clip_layouts.h"

#include <ATen/ATen.h>

#include <functional>
#include <vector>

#include "parapet/core/error.h"

namespace parapet {
namespace {

struct Rule {
  std::string theirs;
  std::vector<std::string> ours;  // several: stacked along the first dimension
  bool transposed = false;
};

// open_clip (src/open_clip/model.py, class CLIP). Every name of a table gets ".weight"/".bias" here
// only where both sides agree on it.
const std::vector<Rule>& open_clip_outer() {
  static const std::vector<Rule> rules = {
      {"logit_scale", {"logit_scale"}},
      {"token_embedding.weight", {"text_model.embeddings.token_embedding.weight"}},
      {"positional_embedding", {"text_model.embeddings.position_embedding.weight"}},
      {"ln_final.weight", {"text_model.final_layer_norm.weight"}},
      {"ln_final.bias", {"text_model.final_layer_norm.bias"}},
      {"text_projection", {"text_projection.weight"}, true},
      {"visual.class_embedding", {"vision_model.embeddings.class_embedding"}},
      {"visual.conv1.weight", {"vision_model.embeddings.patch_embedding.weight"}},
      {"visual.positional_embedding", {"vision_model.embeddings.position_embedding.weight"}},
      {"visual.ln_pre.weight", {"vision_model.pre_layrnorm.weight"}},
      {"visual.ln_pre.bias", {"vision_model.pre_layrnorm.bias"}},
      {"visual.ln_post.weight", {"vision_model.post_layernorm.weight"}},
      {"visual.ln_post.bias", {"vision_model.post_layernorm.bias"}},
      {"visual.proj", {"visual_projection.weight"}, true},
  };
  return rules;
}

// Inside one layer.
const std::vector<Rule>& open_clip_layer() {
  static const std::vector<Rule> rules = {
      {"ln_1.weight", {"layer_norm1.weight"}},
      {"ln_1.bias", {"layer_norm1.bias"}},
      {"attn.in_proj_weight",
       {"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"}},
      {"attn.in_proj_bias",
       {"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"}},
      {"attn.out_proj.weight", {"self_attn.out_proj.weight"}},
      {"attn.out_proj.bias", {"self_attn.out_proj.bias"}},
      {"ln_2.weight", {"layer_norm2.weight"}},
      {"ln_2.bias", {"layer_norm2.bias"}},
      {"mlp.c_fc.weight", {"mlp.fc1.weight"}},
      {"mlp.c_fc.bias", {"mlp.fc1.bias"}},
      {"mlp.c_proj.weight", {"mlp.fc2.weight"}},
      {"mlp.c_proj.bias", {"mlp.fc2.bias"}},
  };
  return rules;
}

struct Prefix {
  std::string theirs, ours;
  ClipLayout layout;
};

// Containers that hold a tower among other things, the more specific first.
const std::vector<Prefix>& containers() {
  using enum ClipLayout;
  static const std::vector<Prefix> prefixes = {
      {"model.vision_tower.vision_tower.vision_model.", "vision_model.", kLlavaOriginal},
      {"vision_tower.vision_model.", "vision_model.", kLlava},
      {"model.vision_tower.", "vision_model.", kLlava},  // transformers 5 in memory
      {"cond_stage_model.transformer.", "", kHuggingFace},
      {"conditioner.embedders.0.transformer.", "", kHuggingFace},
      {"text_encoders.clip_l.transformer.", "", kHuggingFace},
  };
  return prefixes;
}

void each_open_clip_rule(int64_t text_layers, int64_t vision_layers,
                         const std::function<void(const Rule&)>& use) {
  for (const Rule& rule : open_clip_outer()) use(rule);
  auto layers = [&](const std::string& theirs, const std::string& ours, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      for (Rule rule : open_clip_layer()) {
        rule.theirs = theirs + std::to_string(i) + "." + rule.theirs;
        for (std::string& name : rule.ours) name = ours + std::to_string(i) + "." + name;
        use(rule);
      }
    }
  };
  layers("transformer.resblocks.", "text_model.encoder.layers.", text_layers);
  layers("visual.transformer.resblocks.", "vision_model.encoder.layers.", vision_layers);
}

nn::NamedTensors to_open_clip(const TensorMap& ours, const ClipConfig& config) {
  nn::NamedTensors out;
  each_open_clip_rule(config.has_text() ? config.text.num_hidden_layers : 0,
                      config.has_vision() ? config.vision.num_hidden_layers : 0,
                      [&](const Rule& rule) {
                        std::vector<at::Tensor> parts;
                        for (const std::string& name : rule.ours)
                          if (const auto it = ours.find(name); it != ours.end())
                            parts.push_back(it->second);
                        if (parts.size() != rule.ours.size()) return;
                        at::Tensor whole = parts.size() == 1 ? parts[0] : at::cat(parts, 0);
                        if (rule.transposed) whole = whole.t().contiguous();
                        out.emplace_back(rule.theirs, whole);
                      });
  return out;
}

int64_t count_layers(const TensorMap& tensors, const std::string& prefix) {
  int64_t count = 0;
  while (tensors.contains(prefix + std::to_string(count) + ".ln_1.weight")) ++count;
  return count;
}

TensorMap from_open_clip(TensorMap theirs, const std::string& source) {
  TensorMap out;
  each_open_clip_rule(
      count_layers(theirs, "transformer.resblocks."),
      count_layers(theirs, "visual.transformer.resblocks."), [&](const Rule& rule) {
        const auto it = theirs.find(rule.theirs);
        if (it == theirs.end()) return;
        at::Tensor whole = it->second;
        theirs.erase(it);
        const auto parts = static_cast<int64_t>(rule.ours.size());
        if ((rule.transposed && whole.dim() != 2) ||
            (parts > 1 && (whole.dim() < 1 || whole.size(0) % parts != 0)))
          throw DataError(source, "tensor '" + rule.theirs + "' has an unexpected shape");
        if (rule.transposed) whole = whole.t().contiguous();
        const auto pieces = whole.dim() == 0 ? std::vector<at::Tensor>{whole} : whole.chunk(parts);
        for (size_t i = 0; i < rule.ours.size(); ++i) out[rule.ours[i]] = pieces[i];
      });
  // What no rule knows stays under its name, so that strict loading reports it. The causal mask is
  // a buffer of old files; logits of open_clip have no other state.
  for (auto& [name, tensor] : theirs)
    if (name != "attn_mask") out[name] = tensor;
  return out;
}

}  // namespace

nn::NamedTensors to_layout(const TensorMap& ours, ClipLayout layout, const ClipConfig& config) {
  if (layout == ClipLayout::kOpenClip) return to_open_clip(ours, config);
  nn::NamedTensors out;
  if (layout == ClipLayout::kHuggingFace) {
    for (const auto& [name, tensor] : ours) out.emplace_back(name, tensor);
    return out;
  }
  for (const Prefix& prefix : containers()) {
    if (prefix.layout != layout) continue;
    for (const auto& [name, tensor] : ours)
      if (name.starts_with(prefix.ours))
        out.emplace_back(prefix.theirs + name.substr(prefix.ours.size()), tensor);
    return out;
  }
  return out;
}

TensorMap from_layout(TensorMap theirs, const std::string& source, ClipLayout* layout) {
  ClipLayout found = ClipLayout::kHuggingFace;
  TensorMap ours;
  const Prefix* container = nullptr;
  for (const Prefix& prefix : containers()) {
    const auto first = theirs.lower_bound(prefix.theirs);
    if (container == nullptr && first != theirs.end() && first->first.starts_with(prefix.theirs))
      container = &prefix;
  }
  if (container != nullptr) {
    found = container->layout;
    for (const auto& [name, tensor] : theirs)
      if (name.starts_with(container->theirs))
        ours[container->ours + name.substr(container->theirs.size())] = tensor;
  } else if (theirs.contains("token_embedding.weight") || theirs.contains("visual.conv1.weight")) {
    found = ClipLayout::kOpenClip;
    ours = from_open_clip(std::move(theirs), source);
  } else {
    const bool bare_text = theirs.contains("embeddings.token_embedding.weight");
    const bool bare_vision = theirs.contains("embeddings.class_embedding");
    const std::string added = bare_text ? "text_model." : bare_vision ? "vision_model." : "";
    for (const auto& [name, tensor] : theirs) ours[added + name] = tensor;
  }
  std::erase_if(ours, [](const auto& item) { return item.first.ends_with("position_ids"); });
  if (layout != nullptr) *layout = found;
  return ours;
}

}  // namespace parapet

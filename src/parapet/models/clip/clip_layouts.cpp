#include "parapet/models/clip/clip_layouts.h"

#include <vector>

#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/nn/tensor_map.h"

namespace parapet {
namespace {

using nn::drop;
using nn::omit;
using nn::rename;
using nn::TensorRule;

TensorRule position_ids() { return drop("*position_ids", "a buffer of files of old versions"); }

// One of open_clip's layers, which has the same shape in both towers.
std::vector<TensorRule> open_clip_layer(const std::string& theirs, const std::string& ours) {
  std::vector<TensorRule> rules;
  const auto both = [&](const std::string& from, const std::string& to) {
    for (const char* kind : {".weight", ".bias"})
      rules.push_back(rename(theirs + from + kind, ours + to + kind));
  };
  const auto stacked = [&](const std::string& from, const std::string& kind) {
    const std::string attention = ours + "self_attn.";
    rules.push_back(nn::split(
        theirs + from,
        {attention + "q_proj" + kind, attention + "k_proj" + kind, attention + "v_proj" + kind}));
  };
  both("ln_1", "layer_norm1");
  stacked("attn.in_proj_weight", ".weight");
  stacked("attn.in_proj_bias", ".bias");
  both("attn.out_proj", "self_attn.out_proj");
  both("ln_2", "layer_norm2");
  both("mlp.c_fc", "mlp.fc1");
  both("mlp.c_proj", "mlp.fc2");
  return rules;
}

// open_clip (src/open_clip/model.py, class CLIP).
nn::TensorMap open_clip_map() {
  const std::string text = "text_model.", vision = "vision_model.";
  std::vector<TensorRule> rules = {
      drop("attn_mask", "the causal mask, a buffer of old files"),
      position_ids(),
      rename("token_embedding.weight", text + "embeddings.token_embedding.weight"),
      rename("positional_embedding", text + "embeddings.position_embedding.weight"),
      rename("ln_final.*", text + "final_layer_norm.*"),
      rename("text_projection", "text_projection.weight").transposed(),
      rename("visual.class_embedding", vision + "embeddings.class_embedding"),
      rename("visual.conv1.weight", vision + "embeddings.patch_embedding.weight"),
      rename("visual.positional_embedding", vision + "embeddings.position_embedding.weight"),
      rename("visual.ln_pre.*", vision + "pre_layrnorm.*"),
      rename("visual.ln_post.*", vision + "post_layernorm.*"),
      rename("visual.proj", "visual_projection.weight").transposed(),
  };
  for (const auto& layer :
       {open_clip_layer("transformer.resblocks.{}.", text + "encoder.layers.{}."),
        open_clip_layer("visual.transformer.resblocks.{}.", vision + "encoder.layers.{}.")})
    rules.insert(rules.end(), layer.begin(), layer.end());
  return nn::TensorMap(std::move(rules));
}

// A container that holds a tower among other things, which are neither read nor written.
struct Container {
  std::string theirs, ours;  // prefixes
  ClipLayout layout;
  nn::TensorMap map() const {
    return nn::TensorMap({position_ids(), rename(theirs + "*", ours + "*"),
                          drop("*", "belongs to the rest of the pipeline"),
                          omit("*", "the container has no place for it")});
  }
};

// The more specific first.
const std::vector<Container>& containers() {
  using enum ClipLayout;
  static const std::vector<Container> list = {
      {"model.vision_tower.vision_tower.vision_model.", "vision_model.", kLlavaOriginal},
      {"vision_tower.vision_model.", "vision_model.", kLlava},
      {"model.vision_tower.", "vision_model.", kLlava},  // transformers 5 in memory
      {"cond_stage_model.transformer.", "", kHuggingFace},
      {"conditioner.embedders.0.transformer.", "", kHuggingFace},
      {"text_encoders.clip_l.transformer.", "", kHuggingFace},
  };
  return list;
}

bool any_starts_with(const nn::TensorDict& tensors, const std::string& prefix) {
  const auto first = tensors.lower_bound(prefix);
  return first != tensors.end() && first->first.starts_with(prefix);
}

// How the file is laid out, told by its names.
nn::TensorMap recognise(const nn::TensorDict& theirs, ClipLayout& layout) {
  for (const Container& container : containers()) {
    if (!any_starts_with(theirs, container.theirs)) continue;
    layout = container.layout;
    return container.map();
  }
  if (theirs.contains("token_embedding.weight") || theirs.contains("visual.conv1.weight")) {
    layout = ClipLayout::kOpenClip;
    return open_clip_map();
  }
  layout = ClipLayout::kHuggingFace;
  // Single towers may lack the prefix.
  if (theirs.contains("embeddings.token_embedding.weight"))
    return nn::TensorMap({position_ids(), rename("*", "text_model.*")});
  if (theirs.contains("embeddings.class_embedding"))
    return nn::TensorMap({position_ids(), rename("*", "vision_model.*")});
  return nn::TensorMap({position_ids()});
}

}  // namespace

nn::NamedTensors to_layout(const nn::TensorDict& ours, ClipLayout layout) {
  const nn::NamedTensors named(ours.begin(), ours.end());
  if (layout == ClipLayout::kHuggingFace) return named;
  if (layout == ClipLayout::kOpenClip) return open_clip_map().to_file(named);
  for (const Container& container : containers())
    if (container.layout == layout) return container.map().to_file(named);
  throw Error(ErrorKind::kInternal, "to_layout: unknown layout");
}

nn::TensorDict from_layout(const nn::TensorDict& theirs, const std::string& source,
                           ClipLayout* layout) {
  ClipLayout found = ClipLayout::kHuggingFace;
  std::vector<std::string> problems;
  nn::TensorDict ours = recognise(theirs, found).to_model(theirs, problems);
  if (!problems.empty())
    throw DataError(source, "holds tensors of an unexpected shape:\n  " + join(problems, "\n  "));
  if (layout != nullptr) *layout = found;
  return ours;
}

}  // namespace parapet

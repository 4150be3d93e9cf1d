// The names and shapes under which other projects keep CLIP's weights, as tables that work in both
// directions. "Ours" are Hugging Face names with "text_model." / "vision_model.".
#pragma once
#include <string>

#include "parapet/nn/parameter.h"

namespace parapet {

enum class ClipLayout {
  kHuggingFace,    // "text_model.encoder.layers.0.self_attn.q_proj.weight"; also diffusers, ComfyUI
  kOpenClip,       // "transformer.resblocks.0.attn.in_proj_weight": q, k, v stacked
  kLlava,          // "vision_tower.vision_model....": LLaVA as on the Hugging Face hub
  kLlavaOriginal,  // "model.vision_tower.vision_tower.vision_model....": LLaVA's own repository
};

// Our names -> the layout's. Tensors that the layout has no place for are left out (LLaVA keeps
// the vision tower alone).
nn::NamedTensors to_layout(const nn::TensorDict& ours, ClipLayout layout);

// The layout's names -> ours, whichever layout it is; `layout` tells which was found. Understands
// the four above, single towers without a prefix, and Stable Diffusion checkpoints that hold a text
// tower among other things ("cond_stage_model.transformer.", "text_encoders.clip_l.transformer.",
// "conditioner.embedders.0.transformer."). DataError names `source` when a stacked tensor does not
// split into three.
nn::TensorDict from_layout(const nn::TensorDict& theirs, const std::string& source,
                           ClipLayout* layout = nullptr);

}  // namespace parapet

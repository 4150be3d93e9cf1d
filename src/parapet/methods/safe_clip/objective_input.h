// What an objective of hardening sees of a batch.
#pragma once
#include <ATen/core/Tensor.h>

#include "parapet/engine/encoder/quadruplet_embeddings.h"

namespace parapet {

// Equal for equal content, int64 [n] each; all undefined = every row counts as different.
struct QuadrupletKeys {
  at::Tensor safe_text, unsafe_text, safe_image, unsafe_image;
};

struct ObjectiveInput {
  QuadrupletEmbeddings tuned;      // require grad
  QuadrupletEmbeddings reference;  // of the frozen original; no grad
  // `safer_clip`: the original's embeddings of the nearest safe caption (for U) and nearest safe
  // image (for G), with their partners in the other modality.
  at::Tensor target_text, target_text_image;   // T0 and V0 of the pair nearest to U by text
  at::Tensor target_image, target_image_text;  // V0 and T0 of the pair nearest to G by image
  at::Tensor difficulty;  // [n] in [0, 1], share of training pairs that are easier; undefined = 0
  // `shield_clip`: 1 where the generated half is unsafe, [n] bool in CPU memory, since how many
  // rows a branch has must be known without a wait for the device.
  at::Tensor text_unsafe, image_unsafe;
  QuadrupletKeys keys;         // rows that say the same are no negatives of each other
  double logit_scale = 100.0;  // of the original model
  double progress = 0.0;       // share of the run done, for curricula
};

}  // namespace parapet

// The pluggable part of hardening a CLIP model: from embeddings of safe and unsafe pairs to a loss.
// Formulas: Safe-CLIP (arXiv 2311.16254 and its published trainer), SafeR-CLIP (2511.16743),
// ShieldCLIP (2609.39688); `ordered` is ours (docs/safe-clip.md).
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "parapet/core/options.h"
#include "parapet/engine/encoder/quadruplet_embeddings.h"
#include "parapet/training/task.h"

namespace parapet {

struct ObjectiveInput {
  QuadrupletEmbeddings tuned;      // require grad
  QuadrupletEmbeddings reference;  // of the frozen original; no grad
  // `safer_clip`: the original's embeddings of the nearest safe caption (for U) and nearest safe
  // image (for G), with their partners in the other modality.
  at::Tensor target_text, target_text_image;   // T0 and V0 of the pair nearest to U by text
  at::Tensor target_image, target_image_text;  // V0 and T0 of the pair nearest to G by image
  at::Tensor difficulty;  // [n] in [0, 1], share of training pairs that are easier; undefined = 0
  // `shield_clip`: 1 where the generated half is unsafe, [n] bool.
  at::Tensor text_unsafe, image_unsafe;
  double logit_scale = 100.0;  // of the original model
  double progress = 0.0;       // share of the run done, for curricula
};

struct ObjectiveOptions {
  std::string name = "ordered";  // ordered | safe_clip | safer_clip | shield_clip
  // Weights of the eight terms text_safe, text_nsfw, vision_safe, vision_nsfw, S_Vref, U_Vref,
  // V_Sref, G_Sref, normalised to sum 1; empty = the objective's own.
  std::vector<double> weights;
  double order_weight = 0.5;         // ordered: weight of both margin groups
  double order_sharpness = 20;       // ordered: k of softplus(k x) / k
  double order_margin = 0.02;        // ordered: cosine margin
  std::string logit_scale = "auto";  // InfoNCE scale: auto (the original model's) or a number
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

class Objective {
 public:
  virtual ~Objective() = default;
  // The weighted sum and every unweighted term by name.
  virtual StepLoss compute(const ObjectiveInput& input) const = 0;
  // Whether ObjectiveInput::target_* must be filled.
  virtual bool needs_targets() const { return false; }
};

// UsageError on an unknown name.
std::unique_ptr<Objective> make_objective(const ObjectiveOptions& options);

// The published weights (.1 .1 .1 .2 .25 .25 .25 .5, to be normalised).
const std::vector<double>& published_weights();

}  // namespace parapet

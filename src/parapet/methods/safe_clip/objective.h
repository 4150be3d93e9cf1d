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
#include "parapet/methods/safe_clip/objective_input.h"
#include "parapet/training/task.h"

namespace parapet {

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

// The terms objectives are made of. All take unit rows.
#pragma once
#include <string>
#include <vector>

#include "parapet/methods/safe_clip/objective_input.h"
#include "parapet/training/task.h"

namespace parapet {

// Mean of 1 - cos over rows.
at::Tensor cosine_distance(const at::Tensor& x, const at::Tensor& target);

// Safe-CLIP's eight terms in published order: text_safe, text_nsfw, vision_safe, vision_nsfw,
// S_Vref, U_Vref, V_Sref, G_Sref.
std::vector<at::Tensor> eight_terms(const ObjectiveInput& input);
const std::vector<std::string>& eight_term_names();

// Mean over rows of softplus(k (low - high + margin)) / k: `high` should exceed `low` by `margin`.
at::Tensor order_term(const at::Tensor& low, const at::Tensor& high, double sharpness,
                      double margin);

// Collects named terms into a weighted sum.
class TermSum {
 public:
  void add(const std::string& name, const at::Tensor& value, double weight);
  StepLoss finish(int64_t samples) &&;

 private:
  at::Tensor total_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> values_;
};

}  // namespace parapet

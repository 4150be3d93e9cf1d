// Which layers of a CLIP model train, when, and how fast.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "parapet/methods/guard_heads/filter_options.h"
#include "parapet/models/clip/clip.h"

namespace parapet {

struct TrunkParameter {
  std::string name;
  at::Tensor tensor;
  int64_t depth = 0;  // 0 = the top layer of its tower; also final norm and projection
  int64_t stage = 0;  // set free at the start of this epoch
  double lr = 0;
};

// The top `share` of each tower's layers (at least one when share > 0), split into stages from the
// top. Embeddings, positions, the first norm and the logit scale stay frozen.
std::vector<TrunkParameter> unfreeze_plan(ClipModel& model, const UnfreezeOptions& options);

// Turns gradients on for the stages reached in `epoch`, off for the rest.
void apply_unfreezing(std::vector<TrunkParameter>& plan, int64_t epoch);

}  // namespace parapet

// The learning rate over a run.
#pragma once
#include <cstdint>

#include "parapet/training/trainer_options.h"

namespace parapet {

// Learning rate of optimiser step `step` (from 0): a linear rise over `warmup_steps`, peak at
// step warmup_steps - 1, then constant, or half a cosine down to `final_lr` * peak that would be
// reached at `max_steps`.
double learning_rate(const TrainerOptions& options, int64_t step);

}  // namespace parapet

// One optimiser step: micro-batches, reduction over ranks, clipping, update.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/training/distributed.h"
#include "parapet/training/optimizer.h"
#include "parapet/training/task.h"
#include "parapet/training/trainer.h"

namespace parapet {

struct StepReport {
  double lr = 0;
  double loss = 0;              // mean over micro-batches and ranks
  std::vector<LossTerm> terms;  // the same
  double grad_norm = 0;         // before clipping
  double samples = 0;           // over all ranks
  bool cancelled = false;       // on any rank, so that all ranks stop at the same step
};

// Runs step `step`. CheckFailed names step and terms when loss or gradient is not finite; weights
// and optimiser state are then untouched.
StepReport training_step(TrainingTask& task, Optimizer& optimizer, const TrainerOptions& options,
                         Communicator& communicator, const Context& context, int64_t step);

}  // namespace parapet

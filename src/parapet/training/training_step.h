// One optimiser step: micro-batches, reduction over ranks, clipping, update.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/training/communicator.h"
#include "parapet/training/optimizer.h"
#include "parapet/training/task.h"
#include "parapet/training/trainer_options.h"

namespace parapet {

struct StepReport {
  double lr = 0;
  double loss = 0;                                    // weighted mean over micro-batches and ranks
  std::vector<std::pair<std::string, double>> terms;  // the same; empty unless asked for
  double grad_norm = 0;                               // before clipping
  double samples = 0;                                 // over all ranks
  bool cancelled = false;  // on any rank, so that all ranks stop at the same step
};

// Runs step `step` on micro-batches of `source`. CheckFailed names step and terms when loss or
// gradient is not finite; weights and optimiser state are then untouched. Loss and gradient norm
// are read from the device once per step, the terms only when `with_terms`.
StepReport training_step(TrainingTask& task, Source<MicroBatch>& source, Optimizer& optimizer,
                         const TrainerOptions& options, Communicator& communicator,
                         const Context& context, int64_t step, bool with_terms);

}  // namespace parapet

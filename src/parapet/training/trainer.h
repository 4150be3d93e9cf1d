// The one training loop.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/core/options.h"
#include "parapet/training/task.h"

namespace parapet {

struct TrainerOptions {
  int64_t max_steps = 1000;         // optimiser steps
  int64_t accumulate = 1;           // micro-batches per step; gradients are averaged
  std::string optimizer = "adamw";  // adamw | adam
  double lr = 1e-4;                 // peak learning rate
  double beta1 = 0.9;
  double beta2 = 0.98;
  double eps = 1e-8;
  double weight_decay = 0.0;  // on parameters that ask for it
  double clip_norm = 1.0;     // global gradient norm; 0 = off
  int64_t warmup_steps = 0;
  std::string schedule = "cosine";  // constant | cosine
  double final_lr = 0.0;            // share of the peak at the end of cosine
  int64_t validate_every = 0;       // steps; 0 = only at the end
  int64_t patience = 0;             // validations without a better loss or recall; 0 = off
  int64_t checkpoint_every = 200;   // steps; 0 = only at the start and the end
  int64_t log_every = 10;           // steps between metrics lines
  bool resume = false;              // go on from checkpoints/last
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

struct TrainingResult {
  int64_t steps = 0;  // done in total
  bool stopped_early = false;
  double seconds = 0;             // of this process
  double samples_per_second = 0;  // over all ranks
  std::map<std::string, double> last_validation;
  std::map<std::string, double> best_validation;
  int64_t best_step = -1;  // -1 = no validation
};

// Trains `task` in the run directory `run` (checkpoints/, metrics.jsonl). On return the task's
// parameters hold the last step's weights; `load_best` puts the best checkpoint's back. Throws
// Cancelled after saving on Ctrl-C, CheckFailed on a non-finite loss. The first checkpoint is that
// of step 0, so checkpoints/last then always holds the last good weights: those of the newest
// checkpoint from which a step succeeded, or the start. Resumed runs end bit-identical (same
// machine, build, threads).
TrainingResult train(TrainingTask& task, const TrainerOptions& options,
                     const std::filesystem::path& run, Communicator& communicator,
                     const Context& context);

// Copies checkpoints/best into the task's parameters; false when there is none.
bool load_best(TrainingTask& task, const std::filesystem::path& run);

}  // namespace parapet

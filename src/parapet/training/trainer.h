// The one training loop.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/training/communicator.h"
#include "parapet/training/task.h"
#include "parapet/training/trainer_options.h"

namespace parapet {

struct TrainingResult {
  int64_t steps = 0;  // done in total
  bool stopped_early = false;
  double seconds = 0;             // of this process
  double samples_per_second = 0;  // over all ranks
  std::map<std::string, double> last_validation;
  std::map<std::string, double> best_validation;
  int64_t best_step = -1;             // -1 = no validation
  std::optional<MemoryCheck> memory;  // what was expected; nothing = the task cannot tell
  int64_t peak_memory = -1;           // resident bytes of this process; -1 = not known
};

// Trains `task` in the run directory `run` (checkpoints/, metrics.jsonl). On return the task's
// parameters hold the last step's weights; `load_best` puts the best checkpoint's back. Throws
// Cancelled after saving on Ctrl-C, CheckFailed on a non-finite loss. The first checkpoint is that
// of step 0, so checkpoints/last then always holds the last good weights: those of the newest
// checkpoint from which a step succeeded, or the start. The loop draws the task's micro-batches
// ahead on a thread of its own and saves their position. What training takes is told before the
// first step, with a warning when it will not fit, and kept in run/run.json ("training_memory").
// Resumed runs end bit-identical (same machine, build, threads, device); on another device they go
// on, with a warning where random draws start anew.
TrainingResult train(TrainingTask& task, const TrainerOptions& options,
                     const std::filesystem::path& run, Communicator& communicator,
                     const Context& context);

// Copies checkpoints/best into the task's parameters; false when there is none.
bool load_best(TrainingTask& task, const std::filesystem::path& run);

}  // namespace parapet

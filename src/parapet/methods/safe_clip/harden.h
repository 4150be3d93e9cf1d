// `parapet harden safe-clip`: from a CLIP folder and quadruplets to a hardened CLIP.
#pragma once
#include "parapet/methods/safe_clip/harden_task.h"
#include "parapet/nn/lora.h"
#include "parapet/training/run_directory.h"
#include "parapet/training/trainer.h"

namespace parapet {

class Communicator;

struct SafeClipOptions {
  std::string model;                  // Hugging Face CLIP folder
  std::string data;                   // data set directory with quadruplets.jsonl, or shards
  std::string val_shards;             // shards that validate where `data` is shards; empty = none
  int64_t validation_samples = 1000;  // of `val_shards`
  int64_t shuffle_buffer = 1000;      // of shards
  std::string on_bad_sample = "stop";
  std::string reference_cache = ".cache/reference";  // original embeddings by content hash
  int64_t pixel_cache_mb = 1024;                     // decoded pixels kept in memory
  double epochs = 0;                                 // > 0 sets max-steps from the size of the data
  std::string device = "cpu";
  std::string dtype = "auto";
  int64_t seed = 0;
  HardenOptions harden;
  ObjectiveOptions objective;
  TrainerOptions trainer;
  nn::LoraOptions lora;
  // The published set: r 16, alpha 1, dropout 0.1, no q_proj, no projections; Adam, lr 1e-3.
  SafeClipOptions();
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

struct SafeClipResult {
  TrainingResult training;
  int64_t train_quadruplets = 0;
  int64_t skipped = 0;    // bad samples left out
  std::string base_hash;  // of the frozen weights, checked to be the same before and after
};

// Writes run/adapter (lora mode) and run/model (merged). Throws CheckFailed when the frozen weights
// or the reference embeddings are not bit-identical at the end.
SafeClipResult harden_safe_clip(const SafeClipOptions& options, const RunDirectory& run,
                                Communicator& communicator, const Context& context);

}  // namespace parapet

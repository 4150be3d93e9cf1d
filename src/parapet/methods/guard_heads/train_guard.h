// `parapet train guard`: from a CLIP folder and labels.jsonl to guard heads.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "parapet/methods/guard_heads/filter_options.h"
#include "parapet/methods/guard_heads/head_calibration.h"
#include "parapet/methods/guard_heads/head_net.h"
#include "parapet/training/run_directory.h"
#include "parapet/training/trainer.h"

namespace parapet {

class Communicator;

struct TrainGuardOptions {
  std::string model;                   // Hugging Face CLIP folder
  std::string data;                    // data set directory with labels.jsonl
  std::string embedding = "original";  // what `model` is, written into the heads
  std::string on_bad_sample = "stop";
  std::string embedding_cache = ".cache/guard";  // empty = none
  std::string device = "cpu";
  std::string dtype = "auto";
  int64_t seed = 0;
  FilterOptions filter;
  TrainerOptions trainer;
  HeadCalibrationOptions calibration;
  TrainGuardOptions();
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

// Trained heads, calibrated.
struct TrainedGuard {
  TrainingResult training;
  HeadNet net;
  GuardHeadsInfo info;  // categories, model hash, embedding, calibration and thresholds
  std::vector<std::string> train_keys;  // sample_key of what was trained or validated on
  std::vector<std::string> calibration_keys;
  std::vector<std::string> image_keys;  // of the pictures in both
  int64_t train_samples = 0;
  bool tuned_trunk = false;  // run/model holds the CLIP model that the heads belong to
};

// Trains in `run`; half of split "val" (by content) validates, the other half
// calibrates: SplitOverlap where it shares samples with the training set. Mode finetune writes
// run/model. Every rank returns the same heads.
TrainedGuard train_guard(const TrainGuardOptions& options, const RunDirectory& run,
                         Communicator& communicator, const Context& context);

}  // namespace parapet

// When to stop and which checkpoint is best.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <map>
#include <string>

#include "parapet/training/task.h"

namespace parapet {

// The best checkpoint is the one of the best value of the task's selected metric. Patience, after
// Safe-CLIP's trainer, shrinks only when a validation improves *neither* that metric *nor* the
// "loss" where the task reports one, and is full again when one of them improves: the loss of a
// contrastive task keeps falling on easy pairs, while recall is what users act on.
class EarlyStopping {
 public:
  // `patience` 0 = never stops.
  EarlyStopping(int64_t patience, Selection selection)
      : patience_(patience), selection_(std::move(selection)) {}

  struct Verdict {
    bool best = false;  // this validation's weights are the best so far
    bool stop = false;
  };
  // Internal error when `metrics` lacks the selected one; CheckFailed on a value that is not
  // finite.
  Verdict update(int64_t step, const std::map<std::string, double>& metrics);

  int64_t best_step() const { return best_step_; }  // -1 = none yet
  const std::map<std::string, double>& best() const { return best_; }
  nlohmann::json state() const;
  void restore(const nlohmann::json& state);

 private:
  bool improves(const std::string& metric, bool higher, double value) const;

  int64_t patience_;
  Selection selection_;
  int64_t without_progress_ = 0;
  int64_t best_step_ = -1;
  std::map<std::string, double> watched_;  // the best values so far, not all of one validation
  std::map<std::string, double> best_;
};

}  // namespace parapet

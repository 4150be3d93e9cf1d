// When to stop and which checkpoint is best.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace parapet {

// After Safe-CLIP's trainer: patience shrinks only when a validation improves *neither* the loss
// *nor* the recall, and is full again when one of them improves. The best checkpoint is the one of
// the highest "recall" where the task reports it (the quantity users act on; the loss of a
// contrastive task keeps falling on easy pairs), the lowest "loss" otherwise.
class EarlyStopping {
 public:
  // `patience` 0 = never stops.
  explicit EarlyStopping(int64_t patience) : patience_(patience) {}

  struct Verdict {
    bool best = false;  // this validation's weights are the best so far
    bool stop = false;
  };
  // Internal error when `metrics` lacks "loss"; CheckFailed on a value that is not finite.
  Verdict update(int64_t step, const std::map<std::string, double>& metrics);

  int64_t best_step() const { return best_step_; }  // -1 = none yet
  const std::map<std::string, double>& best() const { return best_; }
  nlohmann::json state() const;
  void restore(const nlohmann::json& state);

 private:
  int64_t patience_;
  int64_t without_progress_ = 0;
  int64_t best_step_ = -1;
  std::optional<double> best_loss_, best_recall_;
  std::map<std::string, double> best_;
};

}  // namespace parapet

#include "parapet/training/early_stopping.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"

namespace parapet {
namespace {

void check(int64_t step, const std::map<std::string, double>& metrics) {
  if (metrics.count("loss") == 0)
    throw Error(ErrorKind::kInternal, "validation metrics lack 'loss'");
  for (const char* name : {"loss", "recall"})
    if (const auto found = metrics.find(name);
        found != metrics.end() && !std::isfinite(found->second))
      throw CheckFailed("step " + std::to_string(step) + ": validation " + name +
                        " is not finite; the last checkpoint is intact. Lower the learning rate");
}

}  // namespace

EarlyStopping::Verdict EarlyStopping::update(int64_t step,
                                             const std::map<std::string, double>& metrics) {
  check(step, metrics);
  const double loss = metrics.at("loss");
  const auto recall = metrics.find("recall");
  const bool better_loss = !best_loss_ || loss < *best_loss_;
  const bool better_recall =
      recall != metrics.end() && (!best_recall_ || recall->second > *best_recall_);
  if (better_loss) best_loss_ = loss;
  if (better_recall) best_recall_ = recall->second;
  Verdict verdict;
  verdict.best = recall != metrics.end() ? better_recall : better_loss;
  if (verdict.best) {
    best_step_ = step;
    best_ = metrics;
  }
  without_progress_ = better_loss || better_recall ? 0 : without_progress_ + 1;
  verdict.stop = patience_ > 0 && without_progress_ >= patience_;
  return verdict;
}

nlohmann::json EarlyStopping::state() const {
  nlohmann::json state = {
      {"without_progress", without_progress_}, {"best_step", best_step_}, {"best", best_}};
  if (best_loss_) state["best_loss"] = *best_loss_;
  if (best_recall_) state["best_recall"] = *best_recall_;
  return state;
}

void EarlyStopping::restore(const nlohmann::json& state) {
  without_progress_ = state.at("without_progress").get<int64_t>();
  best_step_ = state.at("best_step").get<int64_t>();
  best_ = state.at("best").get<std::map<std::string, double>>();
  best_loss_.reset();
  best_recall_.reset();
  if (state.contains("best_loss")) best_loss_ = state["best_loss"].get<double>();
  if (state.contains("best_recall")) best_recall_ = state["best_recall"].get<double>();
}

}  // namespace parapet

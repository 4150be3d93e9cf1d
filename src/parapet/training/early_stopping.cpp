#include "parapet/training/early_stopping.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"

namespace parapet {
namespace {

constexpr const char* kLoss = "loss";

void check(int64_t step, const std::map<std::string, double>& metrics, const std::string& metric) {
  if (metrics.count(metric) == 0)
    throw Error(ErrorKind::kInternal, "validation metrics lack '" + metric + "'");
  for (const std::string& name : {std::string(kLoss), metric})
    if (const auto found = metrics.find(name);
        found != metrics.end() && !std::isfinite(found->second))
      throw CheckFailed("step " + std::to_string(step) + ": validation " + name +
                        " is not finite; the last checkpoint is intact. Lower the learning rate");
}

}  // namespace

bool EarlyStopping::improves(const std::string& metric, bool higher, double value) const {
  const auto best = watched_.find(metric);
  return best == watched_.end() || (higher ? value > best->second : value < best->second);
}

EarlyStopping::Verdict EarlyStopping::update(int64_t step,
                                             const std::map<std::string, double>& metrics) {
  const auto& [metric, higher] = selection_;
  check(step, metrics, metric);
  Verdict verdict;
  verdict.best = improves(metric, higher, metrics.at(metric));
  bool progress = verdict.best;
  if (verdict.best) {
    watched_[metric] = metrics.at(metric);
    best_step_ = step;
    best_ = metrics;
  }
  if (const auto loss = metrics.find(kLoss);
      loss != metrics.end() && metric != kLoss && improves(kLoss, false, loss->second)) {
    watched_[kLoss] = loss->second;
    progress = true;
  }
  without_progress_ = progress ? 0 : without_progress_ + 1;
  verdict.stop = patience_ > 0 && without_progress_ >= patience_;
  return verdict;
}

nlohmann::json EarlyStopping::state() const {
  return {{"without_progress", without_progress_},
          {"best_step", best_step_},
          {"best", best_},
          {"watched", watched_}};
}

void EarlyStopping::restore(const nlohmann::json& state) {
  without_progress_ = state.at("without_progress").get<int64_t>();
  best_step_ = state.at("best_step").get<int64_t>();
  best_ = state.at("best").get<std::map<std::string, double>>();
  watched_ = state.at("watched").get<std::map<std::string, double>>();
}

}  // namespace parapet

#include "parapet/methods/guard_heads/head_calibration.h"

#include <algorithm>

#include "parapet/core/strings.h"
#include "parapet/metrics/calibration.h"

namespace parapet {
namespace {

ScoreCalibration fit(const ScoredItems& logits, const std::string& method) {
  ScoreCalibration map;
  if (method == "none") return map;
  if (method == "isotonic") {
    IsotonicFit isotonic = fit_isotonic(logits);
    map.kind = ScoreCalibration::Kind::kIsotonic;
    map.knots = std::move(isotonic.knots);
    map.probabilities = std::move(isotonic.values);
    return map;
  }
  const ScaledFit scaled = method == "platt" ? fit_platt(logits) : fit_temperature(logits);
  map.kind = ScoreCalibration::Kind::kScaled;
  map.scale = scaled.scale;
  map.shift = scaled.shift;
  return map;
}

ScoreThresholds thresholds_of(const ScoredItems& probabilities, double alpha) {
  const RankedItems ranked(probabilities);
  const ConformalBand band = conformal_band(probabilities, alpha);
  return {ranked.threshold_at_fpr(0.01), ranked.threshold_at_recall(0.95), band.low, band.high,
          ranked.threshold_of_best_f1()};
}

bool has_both_classes(const std::vector<uint8_t>& labels) {
  return std::count(labels.begin(), labels.end(), 1) > 0 &&
         std::count(labels.begin(), labels.end(), 0) > 0;
}

std::vector<double> quantiles(std::vector<double> values) {
  std::vector<double> out;
  if (values.size() < 2) return out;
  std::sort(values.begin(), values.end());
  for (int q = 0; q <= 100; ++q) {
    const double at = q / 100.0 * static_cast<double>(values.size() - 1);
    const auto below = static_cast<size_t>(at);
    const size_t above = std::min(below + 1, values.size() - 1);
    out.push_back(values[below] +
                  (at - static_cast<double>(below)) * (values[above] - values[below]));
  }
  return out;
}

}  // namespace

void HeadCalibrationOptions::visit(OptionList& list) {
  list.add("calibration", method, "from logits to probabilities, fitted on half of split val",
           {"none", "temperature", "platt", "isotonic"});
  list.add("conformal-alpha", alpha,
           "bound on harmful items below the review band and benign items above it");
}

void HeadCalibrationOptions::validate(Problems& problems) const {
  problems.require(alpha > 0 && alpha < 0.5, "--conformal-alpha", "must be in (0, 0.5)");
}

void calibrate_heads(GuardHeadsInfo& heads, const std::vector<CalibrationScores>& outputs,
                     const std::vector<double>& benign_cosines,
                     const HeadCalibrationOptions& options, const Context& context) {
  std::vector<std::string> skipped;
  for (const CalibrationScores& scores : outputs) {
    if (!has_both_classes(scores.labels)) {
      skipped.push_back(scores.name);
      continue;
    }
    const ScoredItems logits{scores.logits, scores.labels};
    const ScoreCalibration map = fit(logits, options.method);
    ScoredItems probabilities = logits;
    // As the guard computes them: float32.
    for (double& score : probabilities.scores) score = static_cast<float>(map(score));
    heads.calibration[scores.name] = map;
    heads.thresholds[scores.name] = thresholds_of(probabilities, options.alpha);
  }
  if (!skipped.empty())
    context.warn("not calibrated, since split val lacks harmful or benign samples: " +
                 join(skipped, ", "));
  heads.conformal_alpha = options.alpha;
  heads.cosine_quantiles = quantiles(benign_cosines);
}

}  // namespace parapet

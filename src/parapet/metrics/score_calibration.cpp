#include "parapet/metrics/score_calibration.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"

namespace parapet {
namespace {

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

// Rising knots, never falling probabilities in 0..1, as many of each.
bool valid_isotonic(const ScoreCalibration& map) {
  const auto in_range = [](double p) { return p >= 0 && p <= 1; };
  return !map.knots.empty() && map.knots.size() == map.probabilities.size() &&
         std::all_of(map.probabilities.begin(), map.probabilities.end(), in_range) &&
         std::is_sorted(map.probabilities.begin(), map.probabilities.end()) &&
         std::adjacent_find(map.knots.begin(), map.knots.end(),
                            [](double a, double b) { return !(a < b); }) == map.knots.end();
}

}  // namespace

double ScoreCalibration::operator()(double logit) const {
  if (kind == Kind::kNone) return sigmoid(logit);
  if (kind == Kind::kScaled) return sigmoid(scale * logit + shift);
  const auto above = std::upper_bound(knots.begin(), knots.end(), logit);
  if (above == knots.begin()) return probabilities.front();
  if (above == knots.end()) return probabilities.back();
  const auto right = static_cast<size_t>(above - knots.begin());
  const double share = (logit - knots[right - 1]) / (knots[right] - knots[right - 1]);
  return probabilities[right - 1] + share * (probabilities[right] - probabilities[right - 1]);
}

nlohmann::json to_json(const ScoreCalibration& calibration) {
  switch (calibration.kind) {
    case ScoreCalibration::Kind::kNone:
      return {{"kind", "none"}};
    case ScoreCalibration::Kind::kScaled:
      return {{"kind", "scaled"}, {"scale", calibration.scale}, {"shift", calibration.shift}};
    case ScoreCalibration::Kind::kIsotonic:
      break;
  }
  return {{"kind", "isotonic"},
          {"knots", calibration.knots},
          {"probabilities", calibration.probabilities}};
}

ScoreCalibration score_calibration_from_json(const nlohmann::json& value, std::string_view place) {
  ScoreCalibration out;
  const auto kind = json_field<std::string>(value, "kind", place);
  if (kind == "none") return out;
  if (kind == "scaled") {
    out.kind = ScoreCalibration::Kind::kScaled;
    out.scale = json_field<double>(value, "scale", place);
    out.shift = json_field<double>(value, "shift", place);
    if (!(out.scale > 0) || !std::isfinite(out.scale) || !std::isfinite(out.shift))
      throw DataError(place, "a scale must be positive and finite, a shift finite");
    return out;
  }
  if (kind != "isotonic")
    throw DataError(place, "unknown calibration '" + kind + "'", "Known: none, scaled, isotonic.");
  out.kind = ScoreCalibration::Kind::kIsotonic;
  out.knots = json_field<std::vector<double>>(value, "knots", place);
  out.probabilities = json_field<std::vector<double>>(value, "probabilities", place);
  if (!valid_isotonic(out))
    throw DataError(place,
                    "an isotonic map needs rising knots and as many probabilities in 0..1 "
                    "that never fall");
  return out;
}

}  // namespace parapet

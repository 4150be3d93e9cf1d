// From a head's logit to a probability one can act on. Fitting lives in evaluation/calibration.h.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <string_view>
#include <vector>

namespace parapet {

// A monotone map. kScaled: sigmoid(scale * logit + shift); temperature T is scale 1/T, shift 0.
// kIsotonic: linear between knots (logit -> probability), flat outside.
struct ScoreCalibration {
  enum class Kind { kNone, kScaled, kIsotonic };
  Kind kind = Kind::kNone;  // kNone: sigmoid(logit)
  double scale = 1;
  double shift = 0;
  std::vector<double> knots;          // logits, strictly rising
  std::vector<double> probabilities;  // never falling, in 0..1
  double operator()(double logit) const;
};

nlohmann::json to_json(const ScoreCalibration& calibration);
// DataError names `place` and what is wrong.
ScoreCalibration score_calibration_from_json(const nlohmann::json& value, std::string_view place);

}  // namespace parapet

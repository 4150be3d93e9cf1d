// Are scores probabilities, and where to act on them: calibration error, fits of temperature,
// Platt and isotonic maps, conformal thresholds. Fits see a calibration split; what they are tested
// on must be disjoint from it (data/sample_keys.h).
#pragma once
#include <cstdint>
#include <vector>

#include "parapet/metrics/classification.h"

namespace parapet {

struct ReliabilityBin {
  double low = 0, high = 0;   // of the predicted probability
  double mean_predicted = 0;  // not a number when empty
  double share_harmful = 0;   // likewise
  int64_t n = 0;
};
// Equal-width bins over [0, 1]; `items.scores` are probabilities.
std::vector<ReliabilityBin> reliability(const ScoredItems& items, int64_t bins = 15);
// Expected calibration error (Guo et al., arXiv 1706.04599, equation 5).
double expected_calibration_error(const ScoredItems& items, int64_t bins = 15,
                                  ItemCounts counts = {});
// Mean squared error of the probability.
double brier_score(const ScoredItems& items, ItemCounts counts = {});

// probability = sigmoid(scale * logit + shift).
struct ScaledFit {
  double scale = 1, shift = 0;
};
// Maximum likelihood by Newton's method. Temperature (Guo et al.): shift stays 0, T = 1 / scale.
// Platt (1999): both, with his smoothed targets. DataError when a class is missing.
ScaledFit fit_temperature(const ScoredItems& logits);
ScaledFit fit_platt(const ScoredItems& logits);

// Isotonic regression by pool-adjacent-violators, as scikit-learn's IsotonicRegression: equal
// logits are averaged first; interior knots of a flat piece are dropped.
struct IsotonicFit {
  std::vector<double> knots, values;
};
IsotonicFit fit_isotonic(const ScoredItems& logits);

// Split conformal thresholds (Vovk et al.; risk control as arXiv 2208.02814 with the 0/1 loss). For
// exchangeable items: P(harmful item scores below `low`) <= alpha and P(benign item scores at or
// above `high`) <= alpha. With too few items for a side its threshold is at the end: low 0 clears
// nothing, high above 1 blocks nothing by itself. low <= high; between them: review.
struct ConformalBand {
  double low = 0, high = 0;
};
ConformalBand conformal_band(const ScoredItems& probabilities, double alpha);

}  // namespace parapet

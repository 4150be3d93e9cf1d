// From the heads' logits to probabilities and thresholds, on samples that did not train them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/core/options.h"
#include "parapet/methods/guard_heads/heads.h"

namespace parapet {

struct HeadCalibrationOptions {
  std::string method = "platt";  // none | temperature | platt | isotonic
  double alpha = 0.05;           // bound on misses below, alarms above the review band
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

// One output on the calibration samples that have a label for it.
struct CalibrationScores {
  std::string name;  // "joint.harm", "image.weapon", "contradiction"
  std::vector<double> logits;
  std::vector<uint8_t> labels;
};

// Fits maps and thresholds into `heads` for every output that has both classes; the others are
// named in a warning and keep the plain sigmoid. `benign_cosines`: of matching benign pairs.
void calibrate_heads(GuardHeadsInfo& heads, const std::vector<CalibrationScores>& outputs,
                     const std::vector<double>& benign_cosines,
                     const HeadCalibrationOptions& options, const Context& context);

}  // namespace parapet

// What describes trained guard heads, apart from their weights.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/metrics/score_calibration.h"

namespace parapet {

// What a head looks at: i, t, or the pair's [i, t, i*t, |i-t|].
enum class HeadInput { kImage = 0, kText = 1, kJoint = 2 };
inline constexpr std::array<HeadInput, 3> kHeadInputs = {HeadInput::kImage, HeadInput::kText,
                                                         HeadInput::kJoint};
// "image", "text", "joint".
std::string_view head_input_name(HeadInput input);

// Where to act on one score, chosen on the calibration split. NaN = not chosen.
struct ScoreThresholds {
  double fpr1;      // false alarms at most 1 % of benign items
  double recall95;  // at least 95 % of harmful items at or above
  // Conformal band: below `review_low` a harmful item is missed with probability <= alpha; at or
  // above `review_high` a benign one is hit with probability <= alpha; between them, review.
  double review_low;
  double review_high;
  double best_f1;  // where F1 was highest
};

struct GuardHeadsInfo {
  std::vector<std::string> categories;
  int64_t dim = 0;         // width of the embedding space
  int64_t hidden = 0;      // hidden units; 0 = linear heads
  std::string model_hash;  // model_content_key of the CLIP folder
  std::string embedding;   // "original", "tuned" (the folder beside) or "hardened"
  std::string version;     // of these heads: hash of their weights and calibration
  // "image.harm", "joint.weapon", "implicit", "contradiction" -> calibration and thresholds.
  std::map<std::string, ScoreCalibration> calibration;
  std::map<std::string, ScoreThresholds> thresholds;
  double conformal_alpha = 0;            // of the review bands
  std::vector<double> cosine_quantiles;  // 101 quantiles over benign matching pairs; may be empty
};

}  // namespace parapet

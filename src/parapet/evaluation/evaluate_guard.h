// What a guard's scores are worth on labelled samples: detection per side, implicit harm,
// contradictions, calibration, conformal bands, fairness. Knows scores and labels, not models.
#pragma once
#include <array>
#include <map>
#include <string>
#include <vector>

#include "parapet/data/dataset.h"
#include "parapet/data/guard_targets.h"
#include "parapet/evaluation/report.h"

namespace parapet {

// Scores of one sample, probabilities; not a number = the side is absent.
struct GuardScoreRow {
  std::array<double, 3> harm;                     // image, text, joint
  std::array<std::vector<double>, 3> categories;  // empty where absent
  double contradiction = 0, cosine = 0;
  // Joint score with the text replaced by that of a benign sample; not a number = not measured.
  double broken_pair = 0;
};

// Chosen on a calibration split; see ScoreThresholds of methods/clip_filter/heads.h.
struct OperatingPoint {
  double fpr1 = 0, best_f1 = 0, review_low = 0, review_high = 0;
};

struct GuardEvaluation {
  std::vector<LabelSample> samples;
  std::vector<std::string> categories;
  std::vector<GuardScoreRow> scores;             // one per sample
  std::map<std::string, OperatingPoint> points;  // "joint.harm", "image.weapon", ...
  double conformal_alpha = 0;
  std::vector<std::string> group_attributes = {"language", "style"};  // of the fairness tables
  BootstrapOptions bootstrap;
};

// Metrics, each with `prefix` before its name: per side auroc, recall@fpr1, fpr@recall95 and, at
// the calibration split's best-F1 threshold, f1, accuracy, precision, recall, fpr; deployed.* =
// recall and fpr at its FPR-1 % threshold; explicit.*, implicit.*, context.*, contradiction.*,
// consistency.*, ece, brier, conformal.*. A metric without both classes is left out.
NamedEstimates guard_metrics(const GuardEvaluation& input, const std::string& prefix);

// Tables by side, category, kind of sample, cell of verdicts, group, reliability and ROC.
std::vector<Table> guard_tables(const GuardEvaluation& input);

// ROC of each side's harm and of the contradiction, reliability of the three harm scores.
std::vector<SharePlot> guard_plots(const GuardEvaluation& input);

// "safe + safe = unsafe": what image and text alone are, and the pair; empty when unknown.
std::string verdict_cell(const GuardTargets& targets);

}  // namespace parapet

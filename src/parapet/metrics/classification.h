// Detection metrics of scores against 0/1 labels. An item is called harmful when its score is at or
// above the threshold. Every metric takes optional per-item counts, so that one function serves the
// value, its bootstrap resamples and weighted data.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "parapet/metrics/estimate.h"

namespace parapet {

struct ScoredItems {
  std::vector<double> scores;   // finite
  std::vector<uint8_t> labels;  // 1 = harmful
  int64_t size() const { return static_cast<int64_t>(scores.size()); }
  void add(double score, bool label) {
    scores.push_back(score);
    labels.push_back(label ? 1 : 0);
  }
};

// How often each item counts; empty = once each.
using ItemCounts = std::span<const float>;

struct Confusion {
  double true_positive = 0, false_positive = 0, true_negative = 0, false_negative = 0;
  // Not a number where the denominator is empty; precision and F1 are 0 when nothing is called
  // harmful but something is, as scikit-learn's zero_division=0.
  double accuracy() const;
  double precision() const;
  double recall() const;
  double f1() const;
  double fpr() const;
};

Confusion confusion_at(const ScoredItems& items, double threshold, ItemCounts counts = {});

// Items in order of falling score, made once and used for many resamples.
class RankedItems {
 public:
  // UsageError when lengths differ, DataError on a score that is not finite.
  explicit RankedItems(const ScoredItems& items);
  // Area under the ROC curve, ties counted half; not a number without both classes.
  double auroc(ItemCounts counts = {}) const;
  // Highest recall among thresholds with FPR <= `max_fpr`.
  double recall_at_fpr(double max_fpr, ItemCounts counts = {}) const;
  // Lowest FPR among thresholds with recall >= `min_recall`.
  double fpr_at_recall(double min_recall, ItemCounts counts = {}) const;
  // Highest precision among thresholds with recall >= `min_recall`.
  double precision_at_recall(double min_recall, ItemCounts counts = {}) const;

  // The lowest score that keeps FPR <= `max_fpr`; above every score when none does.
  double threshold_at_fpr(double max_fpr) const;
  // The highest score that keeps recall >= `min_recall`.
  double threshold_at_recall(double min_recall) const;
  double threshold_of_best_f1() const;

  struct RocPoint {
    double threshold, fpr, tpr;
  };
  // From (0, 0) to (1, 1), one point per distinct score.
  std::vector<RocPoint> roc() const;

 private:
  struct Step;  // counts of both classes at or above one distinct score
  void walk(ItemCounts counts, const std::function<void(const Step&)>& visit) const;
  std::vector<int64_t> order_;
  std::vector<double> scores_;  // in falling order
  std::vector<uint8_t> labels_;
};

// Percentile bootstrap of statistics of n items: `statistics` maps counts to `k` values. Resamples
// in which a value is not a number (a class is missing) are left out of its interval.
std::vector<Estimate> bootstrap_statistics(
    int64_t n, const std::function<std::vector<double>(ItemCounts counts)>& statistics,
    const BootstrapOptions& options);

// auroc, recall@fpr1, fpr@recall95 and, at `threshold`, accuracy, precision, recall, f1, fpr: each
// with its interval. Empty classes give n = 0. Exactly 0 or 1, where resamples cannot differ: the
// Wilson interval of what the metric is a share of, for AUROC of as many trials as the rarer class
// has items.
struct DetectionMetrics {
  Estimate auroc, recall_at_fpr1, fpr_at_recall95;
  Estimate accuracy, precision, recall, f1, fpr;
};
DetectionMetrics detection_metrics(const ScoredItems& items, double threshold,
                                   const BootstrapOptions& options);
Estimate auroc_estimate(const ScoredItems& items, const BootstrapOptions& options);

}  // namespace parapet

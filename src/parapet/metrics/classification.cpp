#include "parapet/metrics/classification.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "parapet/core/error.h"
#include "parapet/core/random.h"

namespace parapet {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double share(double part, double whole) { return whole > 0 ? part / whole : kNan; }

double count_of(ItemCounts counts, size_t item) { return counts.empty() ? 1.0 : counts[item]; }

double quantile(const std::vector<double>& sorted, double p) {
  const double at = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

double Confusion::accuracy() const {
  return share(true_positive + true_negative,
               true_positive + true_negative + false_positive + false_negative);
}
double Confusion::precision() const {
  const double called = true_positive + false_positive;
  if (called == 0) return true_positive + false_negative > 0 ? 0.0 : kNan;
  return true_positive / called;
}
double Confusion::recall() const { return share(true_positive, true_positive + false_negative); }
double Confusion::f1() const {
  return share(2 * true_positive, 2 * true_positive + false_positive + false_negative);
}
double Confusion::fpr() const { return share(false_positive, false_positive + true_negative); }

Confusion confusion_at(const ScoredItems& items, double threshold, ItemCounts counts) {
  Confusion out;
  for (size_t i = 0; i < items.scores.size(); ++i) {
    const bool called = items.scores[i] >= threshold;
    const double count = count_of(counts, i);
    if (items.labels[i])
      (called ? out.true_positive : out.false_negative) += count;
    else
      (called ? out.false_positive : out.true_negative) += count;
  }
  return out;
}

struct RankedItems::Step {
  double score;
  double positives, negatives;  // at or above
  double all_positives, all_negatives;
  double tpr() const { return share(positives, all_positives); }
  double fpr() const { return share(negatives, all_negatives); }
};

RankedItems::RankedItems(const ScoredItems& items) {
  if (items.scores.size() != items.labels.size())
    throw UsageError("detection metrics: as many labels as scores are needed");
  order_.resize(items.scores.size());
  std::iota(order_.begin(), order_.end(), int64_t{0});
  for (const double score : items.scores)
    if (!std::isfinite(score)) throw DataError("scores", "are not all finite");
  std::stable_sort(order_.begin(), order_.end(),
                   [&](int64_t a, int64_t b) { return items.scores[a] > items.scores[b]; });
  for (const int64_t i : order_) {
    scores_.push_back(items.scores[i]);
    labels_.push_back(items.labels[i]);
  }
}

void RankedItems::walk(ItemCounts counts, const std::function<void(const Step&)>& visit) const {
  Step step{};
  for (size_t r = 0; r < order_.size(); ++r)
    (labels_[r] ? step.all_positives : step.all_negatives) += count_of(counts, order_[r]);
  for (size_t r = 0; r < order_.size();) {
    step.score = scores_[r];
    double added = 0;
    for (; r < order_.size() && scores_[r] == step.score; ++r) {
      const double count = count_of(counts, order_[r]);
      (labels_[r] ? step.positives : step.negatives) += count;
      added += count;
    }
    if (added > 0) visit(step);
  }
}

double RankedItems::auroc(ItemCounts counts) const {
  double area = 0, positives = 0, negatives = 0, all = 0;
  walk(counts, [&](const Step& s) {
    area += (s.negatives - negatives) * (s.positives + positives) / 2;
    positives = s.positives;
    negatives = s.negatives;
    all = s.all_positives * s.all_negatives;
  });
  return share(area, all);
}

double RankedItems::recall_at_fpr(double max_fpr, ItemCounts counts) const {
  double best = 0;
  bool both = false;
  walk(counts, [&](const Step& s) {
    both = s.all_positives > 0 && s.all_negatives > 0;
    if (both && s.fpr() <= max_fpr) best = std::max(best, s.tpr());
  });
  return both ? best : kNan;
}

double RankedItems::fpr_at_recall(double min_recall, ItemCounts counts) const {
  double best = kNan;
  walk(counts, [&](const Step& s) {
    if (std::isnan(best) && s.all_positives > 0 && s.all_negatives > 0 && s.tpr() >= min_recall)
      best = s.fpr();
  });
  return best;
}

double RankedItems::precision_at_recall(double min_recall, ItemCounts counts) const {
  double best = kNan;
  walk(counts, [&](const Step& s) {
    if (s.all_positives == 0 || s.tpr() < min_recall) return;
    const double precision = s.positives / (s.positives + s.negatives);
    if (std::isnan(best) || precision > best) best = precision;
  });
  return best;
}

double RankedItems::threshold_at_fpr(double max_fpr) const {
  double threshold = scores_.empty() ? kNan : std::nextafter(scores_.front(), INFINITY);
  walk({}, [&](const Step& s) {
    if (s.all_negatives > 0 && s.fpr() <= max_fpr) threshold = s.score;
  });
  return threshold;
}

double RankedItems::threshold_at_recall(double min_recall) const {
  double threshold = kNan;
  walk({}, [&](const Step& s) {
    if (std::isnan(threshold) && s.all_positives > 0 && s.tpr() >= min_recall) threshold = s.score;
  });
  return threshold;
}

double RankedItems::threshold_of_best_f1() const {
  double threshold = kNan, best = -1;
  walk({}, [&](const Step& s) {
    const double f1 = 2 * s.positives / (s.positives + s.negatives + s.all_positives);
    if (s.all_positives > 0 && f1 > best) {
      best = f1;
      threshold = s.score;
    }
  });
  return threshold;
}

std::vector<RankedItems::RocPoint> RankedItems::roc() const {
  std::vector<RocPoint> points = {{INFINITY, 0, 0}};
  walk({}, [&](const Step& s) { points.push_back({s.score, s.fpr(), s.tpr()}); });
  return points;
}

std::vector<Estimate> bootstrap_statistics(
    int64_t n, const std::function<std::vector<double>(ItemCounts counts)>& statistics,
    const BootstrapOptions& options) {
  const std::vector<double> values = statistics({});
  std::vector<std::vector<double>> drawn(values.size());
  Random random = Random::named(options.seed, "bootstrap");
  std::vector<float> counts(static_cast<size_t>(n));
  for (int64_t r = 0; r < options.resamples && n > 0; ++r) {
    std::fill(counts.begin(), counts.end(), 0.0f);
    for (int64_t i = 0; i < n; ++i) counts[random.below(static_cast<uint64_t>(n))] += 1;
    const std::vector<double> sample = statistics(counts);
    for (size_t k = 0; k < sample.size(); ++k)
      if (!std::isnan(sample[k])) drawn[k].push_back(sample[k]);
  }
  std::vector<Estimate> out;
  const double tail = (1 - options.level) / 2;
  for (size_t k = 0; k < values.size(); ++k) {
    Estimate e{values[k], values[k], values[k], std::isnan(values[k]) ? 0 : n};
    if (!std::isnan(values[k]) && !drawn[k].empty()) {
      std::sort(drawn[k].begin(), drawn[k].end());
      e.low = std::min(values[k], quantile(drawn[k], tail));
      e.high = std::max(values[k], quantile(drawn[k], 1 - tail));
    }
    out.push_back(e);
  }
  return out;
}

namespace {

struct ClassCounts {
  int64_t harmful = 0, benign = 0;
  explicit ClassCounts(const ScoredItems& items) {
    for (const uint8_t label : items.labels) ++(label ? harmful : benign);
  }
  int64_t rarer() const { return std::min(harmful, benign); }
};

// Resamples of a perfect or empty result cannot differ: the Wilson interval of `trials` instead of
// a width of zero.
Estimate settled(Estimate e, int64_t trials, double level) {
  if (e.low != e.high || (e.value != 0 && e.value != 1)) return e;
  const Estimate share = wilson_share(e.value == 0 ? 0 : trials, trials, level);
  return {e.value, share.low, share.high, e.n};
}

}  // namespace

DetectionMetrics detection_metrics(const ScoredItems& items, double threshold,
                                   const BootstrapOptions& options) {
  const RankedItems ranked(items);
  const auto all = [&](ItemCounts counts) {
    const Confusion c = confusion_at(items, threshold, counts);
    return std::vector<double>{ranked.auroc(counts),
                               ranked.recall_at_fpr(0.01, counts),
                               ranked.fpr_at_recall(0.95, counts),
                               c.accuracy(),
                               c.precision(),
                               c.recall(),
                               c.f1(),
                               c.fpr()};
  };
  const auto e = bootstrap_statistics(items.size(), all, options);
  const ClassCounts classes(items);
  const Confusion called = confusion_at(items, threshold);
  const auto calls = static_cast<int64_t>(called.true_positive + called.false_positive);
  // Of accuracy, precision, recall, F1 and FPR: what they are shares of. AUROC: the rarer class.
  const std::array<int64_t, 8> trials = {classes.rarer(), classes.harmful, classes.benign,
                                         items.size(),    calls,           classes.harmful,
                                         classes.harmful, classes.benign};
  const auto at = [&](size_t i) {
    return trials[i] > 0 ? settled(e[i], trials[i], options.level) : e[i];
  };
  return {at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)};
}

Estimate auroc_estimate(const ScoredItems& items, const BootstrapOptions& options) {
  const RankedItems ranked(items);
  const Estimate e =
      bootstrap_statistics(
          items.size(),
          [&](ItemCounts counts) { return std::vector<double>{ranked.auroc(counts)}; }, options)
          .front();
  const int64_t rarer = ClassCounts(items).rarer();
  return rarer > 0 ? settled(e, rarer, options.level) : e;
}

}  // namespace parapet

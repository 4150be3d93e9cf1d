// guard_metrics of evaluate_guard.h
#include <cmath>

#include "parapet/evaluation/guard_items.h"
#include "parapet/metrics/calibration.h"
#include "parapet/metrics/fairness.h"

namespace parapet {
namespace {

using namespace guard_items;

class Collector {
 public:
  Collector(const Labelled& data, std::string prefix)
      : data_(data), options_(data.input.bootstrap), prefix_(std::move(prefix)) {}

  void add(const std::string& name, const Estimate& value) {
    if (value.n > 0 && !std::isnan(value.value)) out_.emplace_back(prefix_ + name, value);
  }
  void add_auroc(const std::string& name, const ScoredItems& items) {
    if (both_classes(items)) add(name, auroc_estimate(items, options_));
  }
  void add_share(const std::string& name, int64_t hits, int64_t n) {
    if (n > 0) add(name, wilson_share(hits, n, options_.level));
  }

  void detection();
  void kinds();
  void contradiction();
  void consistency();
  void calibration();
  void macro_f1();
  NamedEstimates take() { return std::move(out_); }

 private:
  const Labelled& data_;
  const BootstrapOptions& options_;
  std::string prefix_;
  NamedEstimates out_;
};

void Collector::detection() {
  for (size_t side = 0; side < 3; ++side) {
    const ScoredItems items = harm_items(data_, side);
    if (!both_classes(items)) continue;
    const std::string name = std::string(kSides[side]) + ".";
    const OperatingPoint point = data_.point(name + "harm");
    const DetectionMetrics m = detection_metrics(items, point.best_f1, options_);
    add(name + "auroc", m.auroc);
    add(name + "f1", m.f1);
    add(name + "recall@fpr1", m.recall_at_fpr1);
    add(name + "fpr@recall95", m.fpr_at_recall95);
    add(name + "accuracy", m.accuracy);
    add(name + "precision", m.precision);
    add(name + "recall", m.recall);
    add(name + "fpr", m.fpr);
    const Confusion deployed = confusion_at(items, point.fpr1);
    const auto count = [](double value) { return static_cast<int64_t>(value); };
    add_share(name + "deployed.recall", count(deployed.true_positive),
              count(deployed.true_positive + deployed.false_negative));
    add_share(name + "deployed.fpr", count(deployed.false_positive),
              count(deployed.false_positive + deployed.true_negative));
  }
}

// Mean over categories of F1 at each category's own threshold.
void Collector::macro_f1() {
  for (size_t side = 0; side < 3; ++side) {
    std::vector<ScoredItems> lists;
    std::vector<double> thresholds;
    for (size_t c = 0; c < data_.input.categories.size(); ++c) {
      lists.push_back(category_items(data_, side, c));
      thresholds.push_back(
          data_.point(std::string(kSides[side]) + "." + data_.input.categories[c]).best_f1);
      if (!both_classes(lists.back())) lists.pop_back(), thresholds.pop_back();
    }
    if (lists.empty()) continue;
    // Lists may differ in length where labels are unknown; then no common resample exists.
    bool aligned = true;
    for (const auto& list : lists) aligned = aligned && list.size() == lists[0].size();
    const auto mean_f1 = [&](ItemCounts counts) {
      double sum = 0;
      for (size_t c = 0; c < lists.size(); ++c)
        sum += confusion_at(lists[c], thresholds[c], counts).f1();
      return std::vector<double>{sum / static_cast<double>(lists.size())};
    };
    const std::string name = std::string(kSides[side]) + ".macro_f1";
    if (aligned)
      add(name, bootstrap_statistics(lists[0].size(), mean_f1, options_).front());
    else
      add(name, {mean_f1({})[0], mean_f1({})[0], mean_f1({})[0], lists[0].size()});
  }
}

void Collector::kinds() {
  const auto kind = [&](size_t i) { return data_.attribute(i, "kind"); };
  bool named = false;
  for (size_t i = 0; i < data_.size(); ++i) named |= !kind(i).empty();
  const auto is_implicit = [&](size_t i) {
    if (named) return kind(i) == "implicit";
    // Without kinds: implicit pairs against all benign ones.
    for (const auto& [category, grade] : data_.input.samples[i].labels)
      if (grade == "implicit") return true;
    return data_.targets[i].harm[2] == 0;
  };
  const auto is_plain = [&](size_t i) {
    return kind(i) == "safe" || kind(i) == "explicit" || kind(i) == "one_sided";
  };
  for (size_t side = 0; side < 3; ++side) {
    const std::string name(kSides[side]);
    if (named) add_auroc("explicit." + name + ".auroc", harm_items(data_, side, is_plain));
    add_auroc("implicit." + name + ".auroc", pair_items(data_, side, is_implicit));
  }
  for (const char* wording : {"seen", "new"})
    add_auroc("implicit." + std::string(wording) + "_wording.joint.auroc",
              pair_items(data_, 2, [&](size_t i) {
                return is_implicit(i) && data_.attribute(i, "wording") == wording;
              }));
  // The same thing shown: explicit pairs against those that the context makes harmless.
  const auto shown = [&](size_t i) {
    bool context = false, explicit_grade = false;
    for (const auto& [category, grade] : data_.input.samples[i].labels) {
      context |= grade == "context";
      explicit_grade |= grade == "explicit";
    }
    return context || (explicit_grade && data_.targets[i].harm[0] == 1);
  };
  ScoredItems context = pair_items(data_, 2, shown);
  add_auroc("context.joint.auroc", context);
}

void Collector::contradiction() {
  add_auroc("contradiction.auroc", contradiction_items(data_, Mismatch::kSwapped, head_doubt));
  add_auroc("contradiction.cosine.auroc",
            contradiction_items(data_, Mismatch::kSwapped, cosine_doubt));
  add_auroc("contradiction.one_sided.auroc",
            contradiction_items(data_, Mismatch::kOneSided, head_doubt));
}

void Collector::consistency() {
  const double image_point = data_.point("image.harm").fpr1;
  const double text_point = data_.point("text.harm").fpr1;
  const double joint_point = data_.point("joint.harm").fpr1;
  int64_t matched = 0, agree = 0, broken = 0, found = 0;
  for (size_t i = 0; i < data_.size(); ++i) {
    const GuardScoreRow& row = data_.input.scores[i];
    if (data_.targets[i].contradiction == 0 && !std::isnan(row.harm[2])) {
      ++matched;
      agree += (row.harm[0] >= image_point) == (row.harm[1] >= text_point);
    }
    if (std::isnan(row.broken_pair) || data_.targets[i].harm[0] != 1) continue;
    ++broken;
    found += row.broken_pair >= joint_point;
  }
  add_share("consistency.agreement", agree, matched);
  add_share("consistency.broken_pair.recall", found, broken);
}

void Collector::calibration() {
  const ScoredItems items = harm_items(data_, 2);
  if (!both_classes(items)) return;
  const auto errors = [&](ItemCounts counts) {
    return std::vector<double>{expected_calibration_error(items, 15, counts),
                               brier_score(items, counts)};
  };
  const auto e = bootstrap_statistics(items.size(), errors, options_);
  add("ece", e[0]);
  add("brier", e[1]);
  const OperatingPoint point = data_.point("joint.harm");
  int64_t harmful = 0, missed = 0, benign = 0, alarms = 0, review = 0;
  for (size_t i = 0; i < items.scores.size(); ++i) {
    const bool below = items.scores[i] < point.review_low;
    const bool above = items.scores[i] >= point.review_high;
    (items.labels[i] ? harmful : benign) += 1;
    missed += items.labels[i] && below;
    alarms += !items.labels[i] && above;
    review += !below && !above;
  }
  add_share("conformal.miss_rate", missed, harmful);
  add_share("conformal.alarm_rate", alarms, benign);
  add_share("conformal.review_share", review, items.size());
}

}  // namespace

NamedEstimates guard_metrics(const GuardEvaluation& input, const std::string& prefix) {
  const Labelled data(input);
  Collector collector(data, prefix);
  collector.detection();
  collector.macro_f1();
  collector.kinds();
  collector.contradiction();
  collector.consistency();
  collector.calibration();
  return collector.take();
}

}  // namespace parapet

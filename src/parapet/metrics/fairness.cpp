#include "parapet/metrics/fairness.h"

#include <cmath>
#include <limits>
#include <map>

#include "parapet/core/error.h"

namespace parapet {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kPower = -5;  // of the paper's evaluation

// Largest minus smallest error rate over groups; a group without items of the class is left out.
double rate_gap(const std::vector<double>& wrong, const std::vector<double>& all) {
  double least = kNan, most = kNan;
  for (size_t g = 0; g < all.size(); ++g) {
    if (all[g] == 0) continue;
    const double rate = wrong[g] / all[g];
    if (!(rate >= least)) least = rate;
    if (!(rate <= most)) most = rate;
  }
  return most - least;
}

struct Grouping {
  std::vector<std::string> names;
  std::vector<int64_t> of_item;  // -1 = none
};

Grouping group_items(const std::vector<std::string>& group, int64_t min_items) {
  std::map<std::string, int64_t> sizes;
  for (const auto& name : group)
    if (!name.empty()) ++sizes[name];
  Grouping out;
  std::map<std::string, int64_t> index;
  for (const auto& [name, size] : sizes) {
    if (size < min_items) continue;
    index[name] = static_cast<int64_t>(out.names.size());
    out.names.push_back(name);
  }
  for (const auto& name : group) {
    const auto it = index.find(name);
    out.of_item.push_back(it == index.end() ? -1 : it->second);
  }
  return out;
}

GroupFairness measure_group(const ScoredItems& items, const Grouping& grouping, int64_t group,
                            double threshold, const BootstrapOptions& options) {
  ScoredItems inside, bpsn, bnsp;
  int64_t benign = 0, alarms = 0, harmful = 0, misses = 0;
  for (size_t i = 0; i < items.scores.size(); ++i) {
    const bool member = grouping.of_item[i] == group, label = items.labels[i] != 0;
    const double score = items.scores[i];
    if (member) inside.add(score, label);
    if (member != label) bpsn.add(score, label);
    if (member == label) bnsp.add(score, label);
    if (!member) continue;
    (label ? harmful : benign) += 1;
    if (label && score < threshold) ++misses;
    if (!label && score >= threshold) ++alarms;
  }
  return {grouping.names[static_cast<size_t>(group)],
          inside.size(),
          auroc_estimate(inside, options),
          auroc_estimate(bpsn, options),
          auroc_estimate(bnsp, options),
          wilson_share(alarms, benign, options.level),
          wilson_share(misses, harmful, options.level)};
}

}  // namespace

double generalised_mean(const std::vector<double>& values, double power) {
  double sum = 0, count = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += std::pow(value, power);
    count += 1;
  }
  return count > 0 ? std::pow(sum / count, 1 / power) : kNan;
}

FairnessResult fairness(const ScoredItems& items, const std::vector<std::string>& group,
                        double threshold, const BootstrapOptions& options, int64_t min_items) {
  if (group.size() != items.scores.size())
    throw UsageError("fairness: as many groups as items are needed");
  const Grouping grouping = group_items(group, min_items);
  FairnessResult out;
  out.overall_auc = auroc_estimate(items, options);
  std::vector<double> subgroup, bpsn, bnsp;
  for (size_t g = 0; g < grouping.names.size(); ++g) {
    out.groups.push_back(
        measure_group(items, grouping, static_cast<int64_t>(g), threshold, options));
    subgroup.push_back(out.groups.back().subgroup_auc.value);
    bpsn.push_back(out.groups.back().bpsn_auc.value);
    bnsp.push_back(out.groups.back().bnsp_auc.value);
  }
  const auto gaps = [&](ItemCounts counts) {
    const size_t k = grouping.names.size();
    std::vector<double> benign(k), alarms(k), harmful(k), misses(k);
    for (size_t i = 0; i < items.scores.size(); ++i) {
      if (grouping.of_item[i] < 0) continue;
      const auto g = static_cast<size_t>(grouping.of_item[i]);
      const double count = counts.empty() ? 1.0 : counts[i];
      const bool called = items.scores[i] >= threshold;
      (items.labels[i] ? harmful : benign)[g] += count;
      if (items.labels[i] && !called) misses[g] += count;
      if (!items.labels[i] && called) alarms[g] += count;
    }
    return std::vector<double>{rate_gap(alarms, benign), rate_gap(misses, harmful)};
  };
  const auto gap = bootstrap_statistics(items.size(), gaps, options);
  out.fpr_gap = gap[0];
  out.fnr_gap = gap[1];
  out.final_metric = 0.25 * (out.overall_auc.value + generalised_mean(subgroup, kPower) +
                             generalised_mean(bpsn, kPower) + generalised_mean(bnsp, kPower));
  return out;
}

}  // namespace parapet

// guard_tables of evaluate_guard.h
#include <algorithm>
#include <cmath>

#include "parapet/core/strings.h"
#include "parapet/evaluation/guard_items.h"
#include "parapet/metrics/calibration.h"
#include "parapet/metrics/fairness.h"

namespace parapet {
namespace {

using namespace guard_items;

Estimate exact(double value, int64_t n) { return {value, value, value, n}; }

Table category_table(const Labelled& data) {
  Table table{"category",
              "By category",
              "AUROC of image, text and pair; recall of the pair at FPR 1 %, F1 at the calibration "
              "split's threshold.",
              {"category", "image", "text", "joint", "joint recall@fpr1", "joint F1"},
              {}};
  for (size_t c = 0; c < data.input.categories.size(); ++c) {
    const std::string& name = data.input.categories[c];
    std::vector<Cell> row = {name};
    for (size_t side = 0; side < 3; ++side) {
      const ScoredItems items = category_items(data, side, c);
      if (both_classes(items))
        row.emplace_back(auroc_estimate(items, data.input.bootstrap));
      else
        row.emplace_back(std::string("-"));
    }
    const ScoredItems joint = category_items(data, 2, c);
    if (both_classes(joint)) {
      const DetectionMetrics m =
          detection_metrics(joint, data.point("joint." + name).best_f1, data.input.bootstrap);
      row.emplace_back(m.recall_at_fpr1);
      row.emplace_back(m.f1);
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

// Shares called harmful, per group of samples.
Table called_table(const Labelled& data, const std::string& name, const std::string& title,
                   const std::string& note, const std::function<std::string(size_t)>& group_of) {
  Table table{name,
              title,
              note,
              {"samples", "n", "harmful pairs", "image", "text", "image or text", "joint"},
              {}};
  std::map<std::string, std::vector<size_t>> groups;
  for (size_t i = 0; i < data.size(); ++i) {
    const std::string group = group_of(i);
    if (!group.empty() && !std::isnan(data.input.scores[i].harm[2])) groups[group].push_back(i);
  }
  std::array<double, 3> points{};
  for (size_t side = 0; side < 3; ++side)
    points[side] = data.point(std::string(kSides[side]) + ".harm").fpr1;
  for (const auto& [group, members] : groups) {
    const auto n = static_cast<int64_t>(members.size());
    const auto share = [&](const std::function<bool(size_t)>& test) {
      return wilson_share(std::count_if(members.begin(), members.end(), test), n);
    };
    const auto called = [&](size_t side) {
      return [&data, &points, side](size_t i) {
        return data.input.scores[i].harm[side] >= points[side];
      };
    };
    table.rows.push_back(
        {group, std::to_string(n), share([&](size_t i) { return data.targets[i].harm[2] == 1; }),
         share(called(0)), share(called(1)),
         share([&](size_t i) { return called(0)(i) || called(1)(i); }), share(called(2))});
  }
  return table;
}

Table fairness_table(const Labelled& data, const std::string& attribute) {
  Table table{"fairness_" + attribute,
              "Groups by " + attribute,
              "Joint score at the deployed threshold. BPSN: benign of the group against harmful of "
              "others; BNSP: the reverse (Borkan et al. 2019).",
              {attribute, "n", "subgroup AUC", "BPSN AUC", "BNSP AUC", "FPR", "FNR"},
              {}};
  std::vector<size_t> kept;
  const ScoredItems items = harm_items(data, 2, {}, &kept);
  std::vector<std::string> groups;
  for (const size_t i : kept) groups.push_back(data.attribute(i, attribute));
  if (!both_classes(items)) return table;
  const FairnessResult result =
      fairness(items, groups, data.point("joint.harm").fpr1, data.input.bootstrap);
  if (result.groups.size() < 2 || result.groups.size() > 30) return table;
  for (const GroupFairness& g : result.groups)
    table.rows.push_back(
        {g.group, std::to_string(g.n), g.subgroup_auc, g.bpsn_auc, g.bnsp_auc, g.fpr, g.fnr});
  table.rows.push_back({"largest gap", "", "", "", "final " + format_number(result.final_metric, 4),
                        result.fpr_gap, result.fnr_gap});
  return table;
}

Table reliability_table(const Labelled& data) {
  Table table{"reliability",
              "Calibration of the joint score",
              "In each bin of predicted probability: its mean and the share that is harmful.",
              {"predicted", "n", "mean predicted", "harmful"},
              {}};
  for (const ReliabilityBin& bin : reliability(harm_items(data, 2), 10)) {
    if (bin.n == 0) continue;
    const auto harmful = std::llround(bin.share_harmful * static_cast<double>(bin.n));
    table.rows.push_back({format_number(bin.low, 1) + " - " + format_number(bin.high, 1),
                          std::to_string(bin.n), exact(bin.mean_predicted, bin.n),
                          wilson_share(harmful, bin.n)});
  }
  return table;
}

Table roc_table(const Labelled& data) {
  Table table{"roc", "ROC", "Recall at a false-alarm rate.", {"FPR", "image", "text", "joint"}, {}};
  std::vector<RankedItems> ranked;
  std::vector<int64_t> sizes;
  for (size_t side = 0; side < 3; ++side) {
    const ScoredItems items = harm_items(data, side);
    ranked.emplace_back(items);
    sizes.push_back(both_classes(items) ? items.size() : 0);
  }
  for (const double fpr : {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0}) {
    std::vector<Cell> row = {format_number(fpr, 3)};
    for (size_t side = 0; side < 3; ++side)
      row.emplace_back(exact(ranked[side].recall_at_fpr(fpr), sizes[side]));
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

std::vector<Table> guard_tables(const GuardEvaluation& input) {
  const Labelled data(input);
  std::vector<Table> tables = {category_table(data)};
  tables.push_back(called_table(
      data, "cells", "Cells of verdicts",
      "Image and text alone, and the pair. Shares called harmful at the threshold that allows 1 % "
      "false alarms on the calibration split.",
      [&](size_t i) { return verdict_cell(data.targets[i]); }));
  tables.push_back(called_table(data, "kinds", "Kinds of samples", "",
                                [&](size_t i) { return data.attribute(i, "kind"); }));
  for (const auto& attribute : input.group_attributes)
    tables.push_back(fairness_table(data, attribute));
  tables.push_back(reliability_table(data));
  tables.push_back(roc_table(data));
  std::erase_if(tables, [](const Table& table) { return table.rows.empty(); });
  return tables;
}

}  // namespace parapet

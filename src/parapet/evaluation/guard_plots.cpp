// guard_plots of evaluate_guard.h
#include <cmath>

#include "parapet/core/strings.h"
#include "parapet/evaluation/calibration.h"
#include "parapet/evaluation/guard_items.h"

namespace parapet {
namespace {

using namespace guard_items;

// Recall over false-alarm rates from 0.001 to 1, closer together where they are small.
Curve roc_curve(const std::string& name, const ScoredItems& items) {
  constexpr int kPoints = 90;
  const RankedItems ranked(items);
  Curve curve{name + " (AUROC " + format_number(ranked.auroc(), 3) + ")", {}};
  for (int i = 0; i <= kPoints; ++i) {
    const double fpr = std::pow(10.0, 3.0 * (i - kPoints) / kPoints);
    curve.points.emplace_back(fpr, ranked.recall_at_fpr(fpr));
  }
  return curve;
}

Curve reliability_curve(const std::string& name, const ScoredItems& items) {
  Curve curve{name, {}};
  for (const ReliabilityBin& bin : reliability(items, 12))
    if (bin.n >= 10) curve.points.emplace_back(bin.mean_predicted, bin.share_harmful);
  return curve;
}

// Pairs that match against pairs in which one attribute was exchanged; `score` rises with doubt.
ScoredItems contradiction_items(const Labelled& data,
                                const std::function<double(const GuardScoreRow&)>& score) {
  ScoredItems items;
  for (size_t i = 0; i < data.size(); ++i) {
    const int8_t label = data.targets[i].contradiction;
    const GuardScoreRow& row = data.input.scores[i];
    if (label < 0 || std::isnan(row.harm[2])) continue;
    if (label == 0 || data.attribute(i, "kind") != "one_sided") items.add(score(row), label == 1);
  }
  return items;
}

}  // namespace

std::vector<SharePlot> guard_plots(const GuardEvaluation& input) {
  const Labelled data(input);
  SharePlot roc{
      "roc", "Harm: recall at a false-alarm rate", "", "false-alarm rate", "recall", true, true,
      {}};
  SharePlot calibration{"reliability",
                        "Calibration",
                        "On the diagonal a score of 0.7 means harm in 7 of 10 cases.",
                        "predicted probability",
                        "share that is harmful",
                        false,
                        true,
                        {}};
  for (size_t side = 0; side < 3; ++side) {
    const ScoredItems items = harm_items(data, side);
    if (!both_classes(items)) continue;
    roc.curves.push_back(roc_curve(kSides[side], items));
    calibration.curves.push_back(reliability_curve(kSides[side], items));
  }
  SharePlot contradiction{"contradiction_roc",
                          "Contradiction: recall at a false-alarm rate",
                          "Pairs that match against pairs in which one attribute was exchanged.",
                          "false-alarm rate",
                          "recall",
                          true,
                          true,
                          {}};
  const ScoredItems head =
      contradiction_items(data, [](const GuardScoreRow& row) { return row.contradiction; });
  if (both_classes(head)) {
    contradiction.curves.push_back(roc_curve("head", head));
    contradiction.curves.push_back(
        roc_curve("cosine alone",
                  contradiction_items(data, [](const GuardScoreRow& row) { return -row.cosine; })));
  }
  std::vector<SharePlot> plots = {std::move(roc), std::move(calibration), std::move(contradiction)};
  std::erase_if(plots, [](const SharePlot& plot) { return plot.curves.empty(); });
  return plots;
}

}  // namespace parapet

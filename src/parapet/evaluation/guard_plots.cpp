// guard_plots of evaluate_guard.h
#include <cmath>

#include "parapet/core/strings.h"
#include "parapet/evaluation/guard_items.h"
#include "parapet/metrics/calibration.h"

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
  const ScoredItems head = contradiction_items(data, Mismatch::kSwapped, head_doubt);
  if (both_classes(head)) {
    contradiction.curves.push_back(roc_curve("head", head));
    contradiction.curves.push_back(
        roc_curve("cosine alone", contradiction_items(data, Mismatch::kSwapped, cosine_doubt)));
  }
  std::vector<SharePlot> plots = {std::move(roc), std::move(calibration), std::move(contradiction)};
  std::erase_if(plots, [](const SharePlot& plot) { return plot.curves.empty(); });
  return plots;
}

}  // namespace parapet

#include "parapet/metrics/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "parapet/core/error.h"

namespace parapet {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

size_t bin_of(double probability, int64_t bins) {
  const auto bin = static_cast<int64_t>(probability * static_cast<double>(bins));
  return static_cast<size_t>(std::clamp<int64_t>(bin, 0, bins - 1));
}

double count_of(ItemCounts counts, size_t item) { return counts.empty() ? 1.0 : counts[item]; }

void require_both_classes(const ScoredItems& items, double& harmful, double& benign) {
  harmful = benign = 0;
  for (const uint8_t label : items.labels) (label ? harmful : benign) += 1;
  if (harmful == 0 || benign == 0)
    throw DataError("calibration items", "hold harmful or benign items only",
                    "Both are needed to fit a calibration.");
}

// Newton's method on the cross-entropy of sigmoid(scale x + shift) against soft targets, halving
// a step that does not improve.
ScaledFit fit_scaled(const ScoredItems& logits, double target_one, double target_zero, bool shift) {
  const auto loss = [&](const ScaledFit& fit) {
    double sum = 0;
    for (size_t i = 0; i < logits.scores.size(); ++i) {
      const double z = fit.scale * logits.scores[i] + fit.shift;
      const double t = logits.labels[i] ? target_one : target_zero;
      sum += std::max(z, 0.0) - z * t + std::log1p(std::exp(-std::abs(z)));
    }
    return sum;
  };
  ScaledFit fit;
  double best = loss(fit);
  for (int iteration = 0; iteration < 100; ++iteration) {
    double ga = 0, gb = 0, haa = 1e-12, hab = 0, hbb = 1e-12;
    for (size_t i = 0; i < logits.scores.size(); ++i) {
      const double x = logits.scores[i];
      const double p = 1 / (1 + std::exp(-(fit.scale * x + fit.shift)));
      const double error = p - (logits.labels[i] ? target_one : target_zero), w = p * (1 - p);
      ga += error * x;
      gb += error;
      haa += w * x * x;
      hab += w * x;
      hbb += w;
    }
    const double det = haa * hbb - hab * hab;
    double da = ga / haa, db = 0;
    if (shift && det > 1e-12 * haa * hbb) {
      da = (hbb * ga - hab * gb) / det;
      db = (haa * gb - hab * ga) / det;
    }
    bool improved = false;
    for (double step = 1; step > 1e-6 && !improved; step /= 2) {
      // A negative scale would turn the order around.
      const ScaledFit next{std::max(1e-4, fit.scale - step * da), fit.shift - step * db};
      const double value = loss(next);
      improved = value < best - 1e-12 * std::abs(best);
      if (improved) fit = next, best = value;
    }
    if (!improved) break;
  }
  return fit;
}

}  // namespace

std::vector<ReliabilityBin> reliability(const ScoredItems& items, int64_t bins) {
  std::vector<ReliabilityBin> out(static_cast<size_t>(bins));
  for (int64_t b = 0; b < bins; ++b) {
    out[b].low = static_cast<double>(b) / static_cast<double>(bins);
    out[b].high = static_cast<double>(b + 1) / static_cast<double>(bins);
  }
  for (size_t i = 0; i < items.scores.size(); ++i) {
    ReliabilityBin& bin = out[bin_of(items.scores[i], bins)];
    bin.mean_predicted += items.scores[i];
    bin.share_harmful += items.labels[i];
    ++bin.n;
  }
  for (ReliabilityBin& bin : out) {
    bin.mean_predicted = bin.n > 0 ? bin.mean_predicted / static_cast<double>(bin.n) : kNan;
    bin.share_harmful = bin.n > 0 ? bin.share_harmful / static_cast<double>(bin.n) : kNan;
  }
  return out;
}

double expected_calibration_error(const ScoredItems& items, int64_t bins, ItemCounts counts) {
  std::vector<double> gap(static_cast<size_t>(bins));
  double total = 0;
  for (size_t i = 0; i < items.scores.size(); ++i) {
    const double count = count_of(counts, i);
    gap[bin_of(items.scores[i], bins)] += count * (items.scores[i] - items.labels[i]);
    total += count;
  }
  double sum = 0;
  for (const double g : gap) sum += std::abs(g);
  return total > 0 ? sum / total : kNan;
}

double brier_score(const ScoredItems& items, ItemCounts counts) {
  double sum = 0, total = 0;
  for (size_t i = 0; i < items.scores.size(); ++i) {
    const double count = count_of(counts, i), error = items.scores[i] - items.labels[i];
    sum += count * error * error;
    total += count;
  }
  return total > 0 ? sum / total : kNan;
}

ScaledFit fit_temperature(const ScoredItems& logits) {
  double harmful = 0, benign = 0;
  require_both_classes(logits, harmful, benign);
  return fit_scaled(logits, 1, 0, false);
}

ScaledFit fit_platt(const ScoredItems& logits) {
  double harmful = 0, benign = 0;
  require_both_classes(logits, harmful, benign);
  return fit_scaled(logits, (harmful + 1) / (harmful + 2), 1 / (benign + 2), true);
}

IsotonicFit fit_isotonic(const ScoredItems& logits) {
  double harmful = 0, benign = 0;
  require_both_classes(logits, harmful, benign);
  std::vector<std::pair<double, double>> items;
  for (size_t i = 0; i < logits.scores.size(); ++i)
    items.emplace_back(logits.scores[i], logits.labels[i]);
  std::sort(items.begin(), items.end());
  struct Block {
    double first, last, sum, weight;
    double mean() const { return sum / weight; }
  };
  std::vector<Block> blocks;
  for (size_t i = 0; i < items.size();) {
    Block block{items[i].first, items[i].first, 0, 0};
    for (; i < items.size() && items[i].first == block.first; ++i) {
      block.sum += items[i].second;
      block.weight += 1;
    }
    while (!blocks.empty() && blocks.back().mean() >= block.mean()) {
      block.first = blocks.back().first;
      block.sum += blocks.back().sum;
      block.weight += blocks.back().weight;
      blocks.pop_back();
    }
    blocks.push_back(block);
  }
  IsotonicFit fit;
  for (const Block& block : blocks) {
    fit.knots.push_back(block.first);
    fit.values.push_back(block.mean());
    if (block.last > block.first) {
      fit.knots.push_back(block.last);
      fit.values.push_back(block.mean());
    }
  }
  return fit;
}

ConformalBand conformal_band(const ScoredItems& probabilities, double alpha) {
  if (!(alpha > 0 && alpha < 1)) throw UsageError("conformal alpha must be in (0, 1)");
  std::vector<double> harmful, benign;
  for (size_t i = 0; i < probabilities.scores.size(); ++i)
    (probabilities.labels[i] ? harmful : benign).push_back(probabilities.scores[i]);
  std::sort(harmful.begin(), harmful.end());
  std::sort(benign.begin(), benign.end(), std::greater<>());
  // With k errors among n calibration items the bound is (k + 1) / (n + 1).
  const auto allowed = [&](size_t n) {
    return static_cast<int64_t>(std::floor(alpha * static_cast<double>(n + 1) + 1e-9)) - 1;
  };
  ConformalBand band{0, 2};
  const int64_t misses = allowed(harmful.size()), alarms = allowed(benign.size());
  if (misses >= 0) band.low = harmful[static_cast<size_t>(misses)];
  // Scores are float32 where they come from: the next float above.
  if (alarms >= 0)
    band.high = std::nextafter(static_cast<float>(benign[static_cast<size_t>(alarms)]), 2.0f);
  // Where they cross, one threshold keeps both bounds.
  band.high = std::max(band.high, band.low);
  return band;
}

}  // namespace parapet

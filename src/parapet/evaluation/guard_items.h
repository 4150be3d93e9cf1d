// Lists of scored items cut out of a guard evaluation; a detail of guard metrics and tables.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "parapet/evaluation/evaluate_guard.h"
#include "parapet/metrics/classification.h"

namespace parapet::guard_items {

inline constexpr std::array<const char*, 3> kSides = {"image", "text", "joint"};

// Samples with their targets, read once.
struct Labelled {
  const GuardEvaluation& input;
  std::vector<GuardTargets> targets;
  explicit Labelled(const GuardEvaluation& evaluation);
  size_t size() const { return targets.size(); }
  std::string attribute(size_t sample, const std::string& name) const;
  OperatingPoint point(const std::string& name) const;
};

using Keep = std::function<bool(size_t sample)>;
// Score of one side's harm against that side's own label; unknown labels and absent scores out.
ScoredItems harm_items(const Labelled& data, size_t side, const Keep& keep = {},
                       std::vector<size_t>* kept = nullptr);
// The same score against the pair's label.
ScoredItems pair_items(const Labelled& data, size_t side, const Keep& keep);
ScoredItems category_items(const Labelled& data, size_t side, size_t category);
// Pairs that match against pairs that do not: one attribute exchanged, or an unsafe thing on one
// side only.
enum class Mismatch { kSwapped, kOneSided };
// Scores that rise with doubt.
inline double head_doubt(const GuardScoreRow& row) { return row.contradiction; }
inline double cosine_doubt(const GuardScoreRow& row) { return -row.cosine; }
ScoredItems contradiction_items(const Labelled& data, Mismatch mismatch,
                                double (*doubt)(const GuardScoreRow&));
bool both_classes(const ScoredItems& items);

}  // namespace parapet::guard_items

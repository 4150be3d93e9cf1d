#include "parapet/evaluation/guard_items.h"

#include <algorithm>
#include <cmath>

#include "parapet/core/error.h"

namespace parapet {

namespace guard_items {

Labelled::Labelled(const GuardEvaluation& evaluation) : input(evaluation) {
  if (evaluation.scores.size() != evaluation.samples.size())
    throw UsageError("guard evaluation: as many scores as samples are needed");
  for (const auto& sample : evaluation.samples)
    targets.push_back(guard_targets(sample, evaluation.categories));
}

std::string Labelled::attribute(size_t sample, const std::string& name) const {
  const auto& attributes = input.samples[sample].attributes;
  const auto it = attributes.find(name);
  return it == attributes.end() ? std::string() : it->second;
}

OperatingPoint Labelled::point(const std::string& name) const {
  const auto it = input.points.find(name);
  // Without a calibrated point: the middle.
  return it == input.points.end() ? OperatingPoint{0.5, 0.5, 0, 2} : it->second;
}

ScoredItems harm_items(const Labelled& data, size_t side, const Keep& keep,
                       std::vector<size_t>* kept) {
  ScoredItems items;
  for (size_t i = 0; i < data.size(); ++i) {
    const double score = data.input.scores[i].harm[side];
    const int8_t label = data.targets[i].harm[side];
    if (label < 0 || std::isnan(score) || (keep && !keep(i))) continue;
    items.add(score, label == 1);
    if (kept != nullptr) kept->push_back(i);
  }
  return items;
}

ScoredItems pair_items(const Labelled& data, size_t side, const Keep& keep) {
  ScoredItems items;
  for (size_t i = 0; i < data.size(); ++i) {
    const double score = data.input.scores[i].harm[side];
    const int8_t label = data.targets[i].harm[2];
    if (label >= 0 && !std::isnan(score) && keep(i)) items.add(score, label == 1);
  }
  return items;
}

ScoredItems category_items(const Labelled& data, size_t side, size_t category) {
  ScoredItems items;
  for (size_t i = 0; i < data.size(); ++i) {
    const auto& scores = data.input.scores[i].categories[side];
    const int8_t label = data.targets[i].categories[side][category];
    if (label >= 0 && !scores.empty()) items.add(scores[category], label == 1);
  }
  return items;
}

ScoredItems contradiction_items(const Labelled& data, Mismatch mismatch,
                                double (*doubt)(const GuardScoreRow&)) {
  ScoredItems items;
  for (size_t i = 0; i < data.size(); ++i) {
    const int8_t label = data.targets[i].contradiction;
    const GuardScoreRow& row = data.input.scores[i];
    if (label < 0 || std::isnan(row.harm[2])) continue;
    const bool one_sided = data.attribute(i, "kind") == "one_sided";
    if (label == 0 || one_sided == (mismatch == Mismatch::kOneSided))
      items.add(doubt(row), label == 1);
  }
  return items;
}

bool both_classes(const ScoredItems& items) {
  const auto harmful = std::count(items.labels.begin(), items.labels.end(), 1);
  return harmful > 0 && harmful < items.size();
}

}  // namespace guard_items

std::string verdict_cell(const GuardTargets& targets) {
  const auto word = [](int8_t label) { return label == 1 ? "unsafe" : "safe"; };
  if (targets.harm[2] < 0) return "";
  if (targets.harm[0] < 0 && targets.harm[1] == 0 && targets.harm[2] == 0)
    return "unsafe thing shown, harmless here";
  if (targets.harm[0] < 0 || targets.harm[1] < 0) return "";
  return std::string(word(targets.harm[0])) + " image + " + word(targets.harm[1]) +
         " text = " + word(targets.harm[2]);
}

}  // namespace parapet

#include "parapet/data/guard_targets.h"

#include <algorithm>
#include <set>

#include "parapet/core/error.h"

namespace parapet {
namespace {

using Sides = std::array<int8_t, 3>;
constexpr int8_t kUnknown = -1;

std::string attribute(const LabelSample& sample, const std::string& name) {
  const auto it = sample.attributes.find(name);
  return it == sample.attributes.end() ? std::string() : it->second;
}

// What a grade means for image, text and pair of a sample that has both.
Sides sides_of_pair(const LabelSample& sample, const std::string& grade) {
  if (grade == "none") return {0, 0, 0};
  if (grade == "implicit") return {0, 0, 1};
  if (grade == "context") return {kUnknown, 0, 0};
  if (grade != "explicit")
    throw DataError("sample '" + sample.id + "'", "unknown grade '" + grade + "'",
                    "Known: none, explicit, implicit, context.");
  const std::string side = attribute(sample, "unsafe_side");
  if (side.empty()) return {kUnknown, kUnknown, 1};
  if (side != "image" && side != "text" && side != "both")
    throw DataError("sample '" + sample.id + "'", "unknown unsafe_side '" + side + "'",
                    "Known: image, text, both.");
  return {static_cast<int8_t>(side != "text"), static_cast<int8_t>(side != "image"), 1};
}

Sides sides_of(const LabelSample& sample, const std::string& grade) {
  const bool image = !sample.image.empty(), text = !sample.text.empty();
  const Sides pair = sides_of_pair(sample, grade);
  if (image && text) return pair;
  const int8_t alone = pair[2];  // explicit and implicit count, context does not
  return {image ? alone : kUnknown, text ? alone : kUnknown, kUnknown};
}

int8_t contradiction_of(const LabelSample& sample) {
  if (sample.image.empty() || sample.text.empty()) return kUnknown;
  const std::string consistent = attribute(sample, "consistent");
  if (consistent == "yes") return 0;
  if (consistent == "no") return 1;
  if (!attribute(sample, "swapped").empty()) return 1;
  const std::string kind = attribute(sample, "kind");
  if (kind == "one_sided") return 1;
  return kind == "safe" || kind == "explicit" ? int8_t{0} : kUnknown;
}

}  // namespace

std::vector<std::string> label_categories(const std::vector<LabelSample>& samples) {
  std::set<std::string> names;
  for (const auto& sample : samples)
    for (const auto& [category, grade] : sample.labels) names.insert(category);
  return {names.begin(), names.end()};
}

GuardTargets guard_targets(const LabelSample& sample, const std::vector<std::string>& categories) {
  GuardTargets out;
  const Sides benign = sides_of(sample, "none");
  out.harm = benign;
  for (const auto& category : categories) {
    const auto it = sample.labels.find(category);
    const Sides sides = it == sample.labels.end() ? benign : sides_of(sample, it->second);
    for (size_t s = 0; s < 3; ++s) {
      out.categories[s].push_back(sides[s]);
      // Harmful wins over unknown, unknown over benign.
      if (sides[s] == 1 || (sides[s] == kUnknown && out.harm[s] == 0)) out.harm[s] = sides[s];
    }
  }
  out.contradiction = contradiction_of(sample);
  return out;
}

}  // namespace parapet

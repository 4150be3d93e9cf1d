// From graded labels to what each side of a sample is to be called: the image alone, the text
// alone, the pair. Training and measuring read labels the same way.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "parapet/data/dataset.h"

namespace parapet {

// 1 = harmful, 0 = benign, -1 = cannot be known or absent. Sides: 0 image, 1 text, 2 pair.
struct GuardTargets {
  std::array<std::vector<int8_t>, 3> categories;
  std::array<int8_t, 3> harm = {-1, -1, -1};  // of any category
  int8_t contradiction = -1;                  // 1 = the text does not describe the image
};

// Union of the categories that samples name, sorted.
std::vector<std::string> label_categories(const std::vector<LabelSample>& samples);

// Explicit: the pair is harmful, and the side that attribute "unsafe_side" (image | text | both)
// names; without it, a pair's single sides are unknown. Implicit: the pair alone. Context: the pair
// and the text are benign, what the image shows is not judged alone. A sample with one side only is
// judged as that side. DataError on an unknown grade or side.
// Contradiction of a pair: attribute "consistent" (yes | no); else "swapped" or kind "one_sided"
// means 1, kind "safe" or "explicit" 0, anything else unknown.
GuardTargets guard_targets(const LabelSample& sample, const std::vector<std::string>& categories);

}  // namespace parapet

// What a labelled sample holds, as a key: sets that must not share samples are compared by these.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/core/error.h"
#include "parapet/data/dataset.h"

namespace parapet {

// A sample's content as 16 hexadecimal digits: text and image bytes, not its id. `image_keys`, when
// given, gets "image:" and as many digits of the picture alone, for each sample that has one.
std::vector<std::string> sample_keys(const std::vector<LabelSample>& samples,
                                     std::vector<std::string>* image_keys = nullptr);

// Calibration and test share samples.
class SplitOverlap : public DataError {
 public:
  using DataError::DataError;
};
// SplitOverlap names how many and the first, when a value is in both lists. Values are ids or
// content hashes.
void require_disjoint(std::span<const std::string> known, std::span<const std::string> test,
                      std::string_view source);

}  // namespace parapet

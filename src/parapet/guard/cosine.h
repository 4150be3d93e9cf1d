// How alike two embeddings are.
#pragma once
#include <algorithm>
#include <span>

namespace parapet::guard {

// Of unit embeddings of one model.
inline double cosine_of(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t k = 0; k < std::min(a.size(), b.size()); ++k) sum += static_cast<double>(a[k]) * b[k];
  return sum;
}

}  // namespace parapet::guard

// Embeddings of quadruplets: what hardening optimises and retrieval measures.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace parapet {

// Unit rows, float32 [n, d]; row i of all four belongs to quadruplet i.
struct QuadrupletEmbeddings {
  at::Tensor safe_text;     // S
  at::Tensor unsafe_text;   // U
  at::Tensor safe_image;    // V
  at::Tensor unsafe_image;  // G
  int64_t size() const { return safe_text.size(0); }
  // DataError when shapes differ or a value is not finite; `source` names the model.
  void check(const std::string& source) const;
};

}  // namespace parapet

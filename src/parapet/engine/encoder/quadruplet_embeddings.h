// Quadruplets through an encoder: what hardening optimises and retrieval measures.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/engine/encoder/encoder.h"

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

// Texts and image locations of quadruplets, one entry a quadruplet in each list.
struct QuadrupletColumns {
  std::vector<std::string> safe_texts, unsafe_texts, safe_images, unsafe_images;
};

// Columns of records that have `safe_text`, `unsafe_text`, `safe_image` and `unsafe_image`, as the
// data room's do; a template, for this room does not know them.
template <class Record>
QuadrupletColumns quadruplet_columns(const std::vector<Record>& records) {
  QuadrupletColumns columns;
  for (const Record& record : records) {
    columns.safe_texts.push_back(record.safe_text);
    columns.unsafe_texts.push_back(record.unsafe_text);
    columns.safe_images.push_back(record.safe_image);
    columns.unsafe_images.push_back(record.unsafe_image);
  }
  return columns;
}

// Four encoder calls. DataError names the image that failed, or `source`, a model whose output is
// not finite.
QuadrupletEmbeddings embed_quadruplets(Encoder& encoder, const QuadrupletColumns& quadruplets,
                                       const std::string& source, const Context& context);

}  // namespace parapet

// What CLIP's text graph reads, made from token ids.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "parapet/models/clip_config.h"

namespace parapet {

// ids int64 [n, t]; tables [rows, width] of any float type. Returns embeddings float [n, t, width],
// pooled rows int32 [n], and the last layer's mask float [n, 1, 1, t]. DataError for an id outside
// the table.
std::vector<at::Tensor> clip_text_inputs(const ClipTextConfig& config, const at::Tensor& tokens,
                                         const at::Tensor& positions, const at::Tensor& ids);

}  // namespace parapet

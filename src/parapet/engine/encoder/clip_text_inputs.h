// What the CPU backends keep of a CLIP model outside their towers, and what a text tower reads.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <vector>

#include "parapet/formats/safetensors.h"
#include "parapet/models/clip/clip_config.h"

namespace parapet {

// Embedding tables of the text tower (undefined without one) and exp(logit_scale).
struct ClipSideTensors {
  at::Tensor tokens, positions;  // [rows, width] of any float type
  double logit_scale = 1;
};
// DataError names the tensor that is missing.
ClipSideTensors load_clip_side_tensors(const std::filesystem::path& folder, bool text,
                                       TensorStorage storage);

// ids int64 [n, t]. Returns embeddings float [n, t, width], pooled rows int32 [n], and the last
// layer's mask float [n, 1, 1, t]. DataError for an id outside the table.
std::vector<at::Tensor> clip_text_inputs(const ClipTextConfig& config, const ClipSideTensors& side,
                                         const at::Tensor& ids);

}  // namespace parapet

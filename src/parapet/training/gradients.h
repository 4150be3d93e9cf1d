// Global gradient norm and clipping over lists of tensors.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace parapet {

// Euclidean norm over all tensors together, a float32 scalar on the first one's device; 0 for an
// empty list, non-finite if any element is.
at::Tensor gradient_norm(const std::vector<at::Tensor>& gradients);
// Scales in place so that the norm becomes `limit`; nothing when `norm` <= `limit` or `limit` is 0.
void clip_gradients(std::vector<at::Tensor>& gradients, double norm, double limit);

}  // namespace parapet

// Gradient checkpointing (arXiv 1604.06174): memory for time. A pass keeps its inputs only, and the
// backward pass computes it again to get at what lies between.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace parapet::nn {

using RecomputedPass = std::function<at::Tensor(const std::vector<at::Tensor>& inputs)>;

// pass(inputs), with the gradients of the plain call to the bit: of the inputs, and of every
// parameter that `pass` uses. (A parameter that several passes share gets the same sum in another
// order.) What else `pass` captures must not require gradients, unless it is a leaf. The generators
// of random numbers (dropout) and nn::LoraOff are as they were in the first pass when it is
// computed again. `pass` must outlive the backward pass and do the same work each time. Where
// gradients are off, it is called plainly.
//
// Parameters receive their gradients by accumulation into grad(), also when the caller asks
// torch::autograd::grad for others; a gradient of a gradient is not available.
at::Tensor recompute(RecomputedPass pass, const std::vector<at::Tensor>& inputs);

}  // namespace parapet::nn

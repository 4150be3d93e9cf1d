// Conversion that costs nothing where there is nothing to convert.
#pragma once
#include <ATen/core/Tensor.h>

namespace parapet::nn {

// `tensor` itself when it has the type already.
inline at::Tensor as_type(const at::Tensor& tensor, at::ScalarType type) {
  return tensor.scalar_type() == type ? tensor : tensor.to(type);
}

}  // namespace parapet::nn

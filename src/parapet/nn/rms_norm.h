// Root-mean-square norm (arXiv 1910.07467) as Llama computes it.
#pragma once
#include <cstdint>

#include "parapet/nn/parameter.h"

namespace parapet::nn {

// weight * x / sqrt(mean(x^2) + eps) over the last dimension. The norm is computed in float32 and
// rounded to x's type before it is weighted, as in `transformers`. Keeps x and one number per row
// for the backward pass.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

class RmsNorm {
 public:
  RmsNorm() = default;
  RmsNorm(int64_t size, double eps);
  at::Tensor forward(const at::Tensor& x) const;
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("weight", self.weight_);
  }

 private:
  double eps_ = 1e-6;
  Parameter weight_;
};

}  // namespace parapet::nn

// A linear layer that adopts checkpoint tensors, computes in the type of its input and may carry a
// LoRA adapter. A Conv2d whose stride equals its kernel (patch embedding) is the same layer over
// unfolded patches.
#pragma once
#include <memory>

#include "parapet/nn/module.h"

namespace parapet::nn {

struct LoraAdapter {
  at::Tensor a;  // [r, in] float32
  at::Tensor b;  // [out, r] float32
  double scale = 1.0;
  double dropout = 0.0;
};

class Linear {
 public:
  Linear() = default;
  // `kernel` > 0: a Conv2d weight [out, in / kernel^2, kernel, kernel].
  Linear(int64_t in, int64_t out, bool bias, int64_t kernel = 0);

  // x [..., in] -> [..., out], in the type of x; a weight stored in another type is converted for
  // the call, so a bfloat16 checkpoint can compute in float32 without a second copy.
  at::Tensor forward(const at::Tensor& x) const;
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("weight", self.weight_);
    if (self.has_bias_) visit("bias", self.bias_);
  }

  int64_t in_features() const { return in_; }
  int64_t out_features() const { return out_; }
  int64_t kernel() const { return kernel_; }
  Parameter& weight() { return weight_; }
  Parameter& bias() { return bias_; }
  const Parameter& weight() const { return weight_; }
  const Parameter& bias() const { return bias_; }
  // W as [out, in], whatever the checkpoint shape.
  at::Tensor matrix() const;

  std::unique_ptr<LoraAdapter> lora;
  bool training = false;  // adapter dropout acts only then

 private:
  int64_t in_ = 0, out_ = 0, kernel_ = 0;
  bool has_bias_ = false;
  Parameter weight_, bias_;
};

}  // namespace parapet::nn

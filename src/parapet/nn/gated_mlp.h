// The gated feed-forward block (arXiv 2002.05202): down(act(gate(x)) * up(x)).
#pragma once
#include "parapet/nn/layers.h"
#include "parapet/nn/linear.h"

namespace parapet::nn {

// activate(gate) * up, keeping only the two inputs for the backward pass. `activation` is kSilu,
// kGelu or kGeluTanh; UsageError otherwise.
at::Tensor gated_product(const at::Tensor& gate, const at::Tensor& up, Activation activation);

class GatedMlp {
 public:
  GatedMlp() = default;
  GatedMlp(int64_t width, int64_t intermediate, bool bias, Activation activation);
  at::Tensor forward(const at::Tensor& x) const;
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("gate_proj", self.gate_proj_);
    visit("up_proj", self.up_proj_);
    visit("down_proj", self.down_proj_);
  }

 private:
  Activation activation_ = Activation::kSilu;
  Linear gate_proj_, up_proj_, down_proj_;
};

}  // namespace parapet::nn

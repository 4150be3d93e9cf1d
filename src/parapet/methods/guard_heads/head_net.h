// The tensors and arithmetic of guard heads, shared by training and inference.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "parapet/methods/guard_heads/heads_info.h"
#include "parapet/nn/module.h"

namespace parapet {

// Input of a head in about unit scale: sqrt(d) i, sqrt(d) t, or the joint
// [sqrt(d) i, sqrt(d) t, d i*t, sqrt(d) |i-t|]. i, t [n, d] unit rows; the side a head does not
// look at may be undefined.
at::Tensor head_features(HeadInput input, const at::Tensor& image, const at::Tensor& text);

// One head: out = W2 gelu(W1 x + b1) + b2, or W2 x + b2 when linear.
struct HeadLayers {
  at::Tensor fc1_weight, fc1_bias;  // [hidden, in], [hidden]; undefined when linear
  at::Tensor fc2_weight, fc2_bias;  // [outputs, hidden or in], [outputs]
  at::Tensor hidden(const at::Tensor& features) const;  // features themselves when linear
  at::Tensor output(const at::Tensor& hidden) const;
  bool linear() const { return !fc1_weight.defined(); }
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    if (!self.linear()) {
      visit("fc1.weight", self.fc1_weight);
      visit("fc1.bias", self.fc1_bias);
    }
    visit("fc2.weight", self.fc2_weight);
    visit("fc2.bias", self.fc2_bias);
  }
};

// Logits of all heads for a batch; [n, categories + 1], the last is any harm.
struct HeadLogits {
  // By HeadInput. The pair's is log(exp(explicit_pair) + exp(implicit_pair)): either is enough.
  std::array<at::Tensor, 3> harm;
  at::Tensor explicit_pair;  // one side shows or says it, and the other does not make it harmless
  at::Tensor implicit_pair;  // only both sides together
  at::Tensor contradiction;  // [n]
  std::array<at::Tensor, 4> hidden;  // of image, text, pair and the implicit expert
};

struct HeadNet final : nn::Module {
  std::array<HeadLayers, 3> heads;  // by HeadInput
  // An expert of its own for implicit pairs: where a few of many samples are implicit, one network
  // for both kinds of harm learns them badly.
  HeadLayers implicit;
  // The pair's explicit logits = its head's + log(exp(side_gain[0] * image's) + exp(side_gain[1] *
  // text's)): one harmful side is enough, and the head learns where the other excuses it. The
  // sides' logits are inputs here, not trained through.
  at::Tensor side_gain;  // [2], starts at 1
  // Contradiction logit = the joint head's last output + gain * cosine; the gain starts at -20,
  // as plain cosine is already a good detector.
  at::Tensor cosine_gain;  // [1]
  int64_t dim = 0, hidden = 0, categories = 0;

  // Seeded; weights normal with deviation 1/sqrt(inputs).
  static HeadNet random(int64_t dim, int64_t hidden, int64_t categories, uint64_t seed);
  // Either side may be undefined: then its heads are. `dropout` of hidden units, in training.
  HeadLogits forward(const at::Tensor& image, const at::Tensor& text, double dropout = 0) const;
  // forward().contradiction alone, without dropout: half the work.
  at::Tensor contradiction(const at::Tensor& image, const at::Tensor& text) const;
  // Checkpoint names: "image.fc1.weight", ..., "implicit.fc2.bias", "joint.side_gain",
  // "contradiction.cosine_gain".
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("image", self.heads[0]);
    visit("text", self.heads[1]);
    visit("joint", self.heads[2]);
    visit("implicit", self.implicit);
    visit("joint.side_gain", self.side_gain);
    visit("contradiction.cosine_gain", self.cosine_gain);
  }
  void walk(const nn::Visitor& visitor) override { nn::walk_parts("", *this, visitor); }
  void walk(const nn::ConstVisitor& visitor) const override { nn::walk_parts("", *this, visitor); }
  HeadNet on(at::Device device) const;

 private:
  // From the joint head's last output [n] to the contradiction logit.
  at::Tensor with_cosine(const at::Tensor& output, const at::Tensor& image,
                         const at::Tensor& text) const;
};

// Writes guard_heads.safetensors and guard_heads.json into `folder` (made if missing).
// info.version is set from the content.
void save_heads(const std::filesystem::path& folder, const HeadNet& net, GuardHeadsInfo info);

}  // namespace parapet

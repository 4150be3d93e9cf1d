// A model small enough to see through: an embedding table, two layers, a head, and both kinds of
// buffers.
#pragma once
#include <ATen/ATen.h>

#include <vector>

#include "parapet/nn/layers.h"
#include "parapet/nn/linear.h"
#include "parapet/nn/module.h"

namespace parapet::nn {

class ToyBlock : public Layer {
 public:
  ToyBlock() : up_(4, 6, true), down_(6, 4, false) {}
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("mlp.up", self.up_);
    visit("mlp.down", self.down_);
  }

 private:
  Linear up_, down_;
};

class Toy : public Module {
 public:
  explicit Toy(bool tied = false) : table_(5, 4), blocks_(2) {
    if (!tied) head_.emplace(4, 5, false);
    count_.shape = {2};
    angles_.value = at::ones({3});
    angles_.saved = false;
  }
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("model.embed_tokens", self.table_);
    visit("model.layers", self.blocks_);
    visit("model.count", self.count_);
    visit("model.angles", self.angles_);
    visit("lm_head", self.head_);
  }
  void walk(const Visitor& visitor) override { walk_parts("", *this, visitor); }
  void walk(const ConstVisitor& visitor) const override { walk_parts("", *this, visitor); }

  // Every parameter and saved buffer with numbers of its own.
  void fill() {
    float next = 0;
    each_parameter(*this, [&](const std::string&, Parameter& parameter) {
      parameter.value = at::full(parameter.shape, next += 1);
    });
    count_.value = at::tensor({7, 8}, at::kLong);
  }
  const at::Tensor& count() const { return count_.value; }
  const at::Tensor& angles() const { return angles_.value; }

 private:
  Embedding table_;
  std::vector<ToyBlock> blocks_;
  Buffer count_, angles_;
  std::optional<Linear> head_;
};

}  // namespace parapet::nn

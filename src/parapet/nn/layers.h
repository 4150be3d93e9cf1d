// The small layers of a Transformer: norm, embedding table, activations.
#pragma once
#include <cstdint>
#include <string>

#include "parapet/nn/linear.h"
#include "parapet/nn/parameter.h"

namespace parapet::nn {

class LayerNorm {
 public:
  LayerNorm() = default;
  LayerNorm(int64_t size, double eps);
  at::Tensor forward(const at::Tensor& x) const;
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("weight", self.weight_);
    visit("bias", self.bias_);
  }

 private:
  double eps_ = 1e-5;
  Parameter weight_, bias_;
};

class Embedding {
 public:
  Embedding() = default;
  Embedding(int64_t rows, int64_t width);
  // ids int64 of any shape -> [..., width] in `dtype`.
  at::Tensor forward(const at::Tensor& ids, at::ScalarType dtype) const;
  // The first `count` rows, for positions.
  at::Tensor rows(int64_t count, at::ScalarType dtype) const;
  int64_t size() const { return weight_.shape[0]; }
  Parameter& weight() { return weight_; }
  const Parameter& weight() const { return weight_; }
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("weight", self.weight_);
  }

 private:
  Parameter weight_;
};

// DataError when an id is none of a table's `rows`; `what` names the ids ("text"). On a GPU the
// look would cost a wait for the device: only ids in CPU memory are checked.
void check_ids(const at::Tensor& ids, int64_t rows, const std::string& what);

enum class Activation { kQuickGelu, kGelu, kGeluTanh, kSilu, kRelu };
// From `hidden_act` of a config; DataError names `source` and the value when it is unknown.
Activation activation_from_name(const std::string& name, const std::string& source);
std::string activation_name(Activation activation);
at::Tensor activate(const at::Tensor& x, Activation activation);

}  // namespace parapet::nn

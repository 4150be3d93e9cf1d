// Keys and values of tokens already seen, so that a decoder computes each token once. For
// inference: nothing in it takes part in autograd.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace parapet::nn {

class KvCache {
 public:
  // Room for `capacity` tokens is made with the first append and grows by doubling. Appending
  // beyond `limit` tokens (the model's context; 0 = none) is a UsageError that names both lengths.
  explicit KvCache(int64_t layers, int64_t limit = 0, int64_t capacity = 256);

  int64_t layers() const { return static_cast<int64_t>(layers_.size()); }
  // Tokens that every layer holds.
  int64_t length() const;
  // Rows of the batch; 0 before the first append.
  int64_t batch() const;
  int64_t bytes() const;

  // k, v [b, heads, t, d] behind what `layer` holds; returns views of all its keys and values,
  // [b, heads, length, d], valid until the next append. All layers must be given the same tokens.
  std::pair<at::Tensor, at::Tensor> append(int64_t layer, const at::Tensor& k, const at::Tensor& v);
  // Forgets the tokens from `length` on. After a forward pass that failed half-way,
  // truncate(length()) makes the layers equal again.
  void truncate(int64_t length);
  // Row i becomes what row rows[i] was (int64 [any number]): for beams, and for dropping rows that
  // have ended.
  void reorder(const at::Tensor& rows);

 private:
  struct Layer {
    at::Tensor k, v;  // [b, heads, capacity, d]
    int64_t length = 0;
  };
  void make_room(Layer& layer, const at::Tensor& k, const at::Tensor& v, int64_t tokens) const;
  std::vector<Layer> layers_;
  int64_t limit_ = 0, capacity_ = 0;
};

}  // namespace parapet::nn

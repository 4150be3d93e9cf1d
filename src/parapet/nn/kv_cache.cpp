#include "parapet/nn/kv_cache.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <string>

#include "parapet/core/error.h"

namespace parapet::nn {
namespace {

std::string size_text(const at::Tensor& x) {
  std::string text = "[";
  for (const int64_t size : x.sizes()) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

bool same_but_tokens(const at::Tensor& held, const at::Tensor& given) {
  return given.dim() == 4 && held.size(0) == given.size(0) && held.size(1) == given.size(1) &&
         held.size(3) == given.size(3) && held.scalar_type() == given.scalar_type() &&
         held.device() == given.device();
}

at::Tensor grown(const at::Tensor& old, const at::Tensor& like, int64_t used, int64_t capacity) {
  // A tensor made in inference mode could not be written to outside of it.
  const c10::InferenceMode outside(false);
  at::Tensor room = at::empty({like.size(0), like.size(1), capacity, like.size(3)}, like.options());
  if (used > 0) room.narrow(2, 0, used).copy_(old.narrow(2, 0, used));
  return room;
}

}  // namespace

KvCache::KvCache(int64_t layers, int64_t limit, int64_t capacity)
    : layers_(static_cast<size_t>(layers)),
      limit_(limit),
      capacity_(std::max<int64_t>(capacity, 1)) {
  if (limit_ > 0) capacity_ = std::min(capacity_, limit_);
}

int64_t KvCache::length() const {
  if (layers_.empty()) return 0;
  return std::ranges::min(layers_, {}, &Layer::length).length;
}

int64_t KvCache::batch() const {
  return layers_.empty() || !layers_.front().k.defined() ? 0 : layers_.front().k.size(0);
}

int64_t KvCache::bytes() const {
  int64_t sum = 0;
  for (const Layer& layer : layers_)
    if (layer.k.defined()) sum += static_cast<int64_t>(layer.k.nbytes() + layer.v.nbytes());
  return sum;
}

void KvCache::make_room(Layer& layer, const at::Tensor& k, const at::Tensor& v,
                        int64_t tokens) const {
  int64_t capacity = layer.k.defined() ? layer.k.size(2) : capacity_;
  while (capacity < tokens) capacity *= 2;
  if (limit_ > 0) capacity = std::min(capacity, limit_);
  layer.k = grown(layer.k, k, layer.length, capacity);
  layer.v = grown(layer.v, v, layer.length, capacity);
}

std::pair<at::Tensor, at::Tensor> KvCache::append(int64_t index, const at::Tensor& k,
                                                  const at::Tensor& v) {
  Layer& layer = layers_.at(static_cast<size_t>(index));
  if (at::GradMode::is_enabled() && (k.requires_grad() || v.requires_grad()))
    throw Error(ErrorKind::kInternal, "KvCache: it would cut the gradients of its keys and values");
  if (k.dim() != 4 || v.dim() != 4 || k.size(2) != v.size(2) ||
      (layer.k.defined() && !(same_but_tokens(layer.k, k) && same_but_tokens(layer.v, v))))
    throw Error(ErrorKind::kInternal,
                "KvCache: keys " + size_text(k) + " and values " + size_text(v) +
                    " do not continue " +
                    (layer.k.defined() ? size_text(layer.k) : std::string("each other")));
  const int64_t tokens = layer.length + k.size(2);
  if (limit_ > 0 && tokens > limit_)
    throw UsageError("the text has " + std::to_string(tokens) +
                     " tokens, but the model's context is " + std::to_string(limit_) +
                     " tokens long");
  const at::NoGradGuard no_grad;
  if (!layer.k.defined() || tokens > layer.k.size(2)) make_room(layer, k, v, tokens);
  layer.k.narrow(2, layer.length, k.size(2)).copy_(k);
  layer.v.narrow(2, layer.length, v.size(2)).copy_(v);
  layer.length = tokens;
  return {layer.k.narrow(2, 0, tokens), layer.v.narrow(2, 0, tokens)};
}

void KvCache::truncate(int64_t length) {
  if (length < 0) throw Error(ErrorKind::kInternal, "KvCache::truncate: a negative length");
  for (Layer& layer : layers_) layer.length = std::min(layer.length, length);
}

void KvCache::reorder(const at::Tensor& rows) {
  const c10::InferenceMode outside(false);
  const at::NoGradGuard no_grad;
  for (Layer& layer : layers_) {
    if (!layer.k.defined()) continue;
    const at::Tensor index = rows.to(layer.k.device());
    layer.k = layer.k.index_select(0, index);
    layer.v = layer.v.index_select(0, index);
  }
}

}  // namespace parapet::nn

// How a batch goes through a packed tower, on one thread or several.
//
// Sequences are gathered in blocks of about a hundred rows, so that what a layer writes stays in a
// core's own cache. Where there are blocks for everybody, a member takes one block through one
// layer at a time, layer by layer, so that a layer's weights are read from memory once. Where there
// are not, all members share each step of the one block. Work is claimed, not dealt out: a member
// whose thread lost its core holds up no more than what it has claimed.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

#include "parapet/core/crew.h"
#include "parapet/engine/int8/int8_kernels.h"

namespace parapet {

struct Int8Layer {
  int8::Norm norm1, norm2;
  int8::Linear q, k, v, out, fc1, fc2;
  int8::AttentionScales attention;
  at::Tensor gain;   // [inner]: what fc1's activation is multiplied by to become fc2's bytes
  float offset = 0;  // and what is added
};

// A tower, packed. The head's width divides into fours, all other widths are multiples of 64.
struct Int8Parts {
  int64_t width = 0, heads = 0, inner = 0, dim = 0;
  bool causal = false;
  nn::Activation activation = nn::Activation::kQuickGelu;
  std::optional<int8::Linear> patch = {};  // images only
  at::Tensor offsets = {};                 // [rows, width] added to the patches' products
  std::optional<int8::Norm> before = {};   // over the embedded patches
  std::vector<Int8Layer> layers = {};
  int8::Norm after = {};
  at::Tensor projection = {};  // [width, dim]; undefined = none
};

// Sequences back to back: number i has the rows [starts[i], starts[i + 1]).
struct Int8Sequences {
  std::vector<int64_t> starts;  // [n + 1]
  bool pool_first = true;       // the first row becomes the embedding, else the last
  int64_t count() const { return static_cast<int64_t>(starts.size()) - 1; }
  int64_t length(int64_t i) const { return starts[i + 1] - starts[i]; }
  int64_t pooled(int64_t i) const { return pool_first ? starts[i] : starts[i + 1] - 1; }
};

// Embeddings [n, dim], not normalised. `x` float [rows, width] is overwritten; with `patches`
// (uint8
// [.., bytes], as many rows) its contents do not matter, else it holds the embedded tokens. The
// crew joins in when nobody else is computing.
at::Tensor run_int8_tower(std::shared_ptr<const Int8Parts> parts, Int8Sequences all, at::Tensor x,
                          at::Tensor patches, Crew& crew);

}  // namespace parapet

// The leaves of a model: what its checkpoint holds by name.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace parapet::nn {

// A checkpoint tensor: undefined until loaded or initialised.
struct Parameter {
  at::Tensor value;
  std::vector<int64_t> shape;  // as stored in the checkpoint
};

// State that no optimiser touches and that keeps its stored type. `saved` = it is in the
// checkpoint; otherwise the model makes it itself.
struct Buffer {
  at::Tensor value;
  std::vector<int64_t> shape;
  bool saved = true;
};

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;  // in an order that matters
using TensorDict = std::map<std::string, at::Tensor>;

}  // namespace parapet::nn

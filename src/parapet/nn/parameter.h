// Parameters and how models list them. A module's member path equals the Hugging Face key, so one
// generic walk loads, saves, counts and optimises every model.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace parapet::nn {

// A checkpoint tensor: undefined until loaded or initialised.
struct Parameter {
  at::Tensor value;
  std::vector<int64_t> shape;  // as stored in the checkpoint
};

// Called with the full checkpoint name ("vision_model.post_layernorm.weight").
using ParameterVisitor = std::function<void(const std::string& name, Parameter& parameter)>;

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

}  // namespace parapet::nn

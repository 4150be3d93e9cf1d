// What can be asked of and done to a whole model, whatever it is made of.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "parapet/nn/module.h"

namespace parapet::nn {

struct ParameterCounts {
  int64_t total = 0;      // base weights and adapters
  int64_t trainable = 0;  // those that require gradients
};
ParameterCounts count_parameters(const Module& module);

// Base weights stop or start to require gradients; adapters keep what they have.
void set_requires_grad(Module& module, bool on);

// Moves everything to `device` and converts parameters to `dtype` (Undefined = as they are).
// Adapters and buffers keep their types.
void move_to(Module& module, at::Device device, at::ScalarType dtype = at::ScalarType::Undefined);

// Where the parameters are (the CPU for a module without any).
at::Device device_of(const Module& module);

// Whether dropout on adapters acts.
void set_training(Module& module, bool training);

// Gradient checkpointing in every layer.
void set_recompute(Module& module, bool on);

}  // namespace parapet::nn

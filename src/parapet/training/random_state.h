// Torch's default generators (dropout and the like), saved so that a resumed run draws the same.
#pragma once
#include "parapet/nn/parameter.h"

namespace parapet {

// "rng.cpu" and, where parameters live on CUDA, "rng.cuda": uint8 vectors on the CPU.
nn::NamedTensors generator_states(at::Device device);
void restore_generator_states(const nn::NamedTensors& states, at::Device device);

}  // namespace parapet

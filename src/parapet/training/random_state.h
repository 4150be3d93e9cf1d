// Torch's default generators (dropout and the like), saved so that a resumed run draws the same.
#pragma once
#include <filesystem>

#include "parapet/core/context.h"
#include "parapet/nn/parameter.h"

namespace parapet {

// "rng.cpu" and, where parameters live on CUDA, "rng.cuda": uint8 vectors on the CPU.
nn::NamedTensors generator_states(at::Device device);
// Row `rank` of each generator in `file`, as gather_rows of generator_states made it. A generator
// of this device that the file lacks, because the run was saved on another device, keeps the state
// that it has, with a warning: the run goes on, but draws other numbers than an unbroken one.
// DataError: the file holds no generator's state.
void restore_generator_states(const std::filesystem::path& file, int64_t rank, at::Device device,
                              const Context& context);

}  // namespace parapet

// Reading a safetensors file into tensors that exist already.
#pragma once
#include <filesystem>

#include "parapet/nn/parameter.h"

namespace parapet {

// Copies the file's values into `tensors` (no gradient recorded). DataError lists every missing,
// unexpected, mis-shaped and mis-typed tensor together; nothing is copied then.
void read_tensors(const std::filesystem::path& file, nn::NamedTensors& tensors);

}  // namespace parapet

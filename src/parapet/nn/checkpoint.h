// Between checkpoint files and parameters: strict loading that reports everything at once, saving
// in the layout `transformers` reads.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "parapet/formats/safetensors.h"
#include "parapet/nn/parameter.h"

namespace parapet::nn {

// A tensor that aliases the view's memory (and keeps it alive), or a copy where the data is not
// aligned to its element size.
at::Tensor to_tensor(const TensorView& view);
// A view of a contiguous CPU tensor's memory.
TensorView to_view(const at::Tensor& tensor);

struct LoadOptions {
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;  // converted to; Undefined = each as stored
  // Names in the archive to leave alone (buffers such as position_ids of old checkpoints).
  std::function<bool(const std::string&)> ignore;
  // Model name -> archive name; identity when empty.
  std::function<std::string(const std::string&)> rename;
};

using ParameterWalk = std::function<void(const ParameterVisitor&)>;

// Fills every parameter from named tensors, whose file `source` names. DataError lists all missing,
// unexpected and mis-shaped tensors together, with the closest name for each missing one.
void adopt_parameters(const ParameterWalk& walk, std::map<std::string, at::Tensor> tensors,
                      const std::string& source, const LoadOptions& options);
// The same from a file or folder.
void load_parameters(const ParameterWalk& walk, const TensorArchive& archive,
                     const LoadOptions& options);

// Copies to the CPU where needed and writes one file.
void save_tensors(const std::filesystem::path& file, const NamedTensors& tensors,
                  std::map<std::string, std::string> metadata = {});

NamedTensors named_parameters(const ParameterWalk& walk);
int64_t parameter_count(const ParameterWalk& walk);
// SHA-256 over names, shapes and bytes: equal hashes mean bit-identical weights.
std::string parameters_hash(const ParameterWalk& walk);

}  // namespace parapet::nn

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
#include "parapet/nn/module.h"
#include "parapet/nn/parameter.h"
#include "parapet/nn/tensor_map.h"

namespace parapet::nn {

// A tensor that aliases the view's memory (and keeps it alive), or a copy where the data is not
// aligned to its element size.
at::Tensor to_tensor(const TensorView& view);
// A view of a contiguous CPU tensor's memory.
TensorView to_view(const at::Tensor& tensor);
// Every tensor of an archive, aliasing it.
TensorDict to_tensors(const TensorArchive& archive);

struct LoadOptions {
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;  // parameters are converted to; Undefined = each as stored
  TensorMap map{};                    // how the file's names and shapes differ from the module's
};

// Fills every parameter and saved buffer from named tensors, whose file `source` names. DataError
// lists all missing, unexpected and mis-shaped tensors and broken ties together, under the names of
// the file, with the closest name for each missing one. Nothing is copied that needs no conversion.
void adopt_parameters(Module& module, const TensorDict& tensors, const std::string& source,
                      const LoadOptions& options);
// The same from a file or folder.
void load_parameters(Module& module, const TensorArchive& archive, const LoadOptions& options);

// Copies to the CPU where needed and writes one file.
void save_tensors(const std::filesystem::path& file, const NamedTensors& tensors,
                  std::map<std::string, std::string> metadata = {});

// Writes `tensors` as `folder`/STEM.safetensors, or as shards STEM-00001-of-00003.safetensors with
// STEM.safetensors.index.json where they take more than `max_shard_bytes` (a larger tensor has a
// shard of its own). Weights that an earlier save left there under other file names are removed,
// and an index never names a mix of old and new shards. Returns the files, weights first.
std::vector<std::filesystem::path> save_checkpoint(const std::filesystem::path& folder,
                                                   const NamedTensors& tensors,
                                                   int64_t max_shard_bytes,
                                                   const std::string& stem = "model");

// The same of a module, under the names of files. Adapters are merged into what is written, one
// shard at a time: at no time is there a second copy of more than a shard.
std::vector<std::filesystem::path> save_checkpoint(const std::filesystem::path& folder,
                                                   const Module& module, const TensorMap& map,
                                                   int64_t max_shard_bytes,
                                                   const std::string& stem = "model");

NamedTensors named_parameters(const Module& module);
// What a checkpoint holds: parameters with adapters merged into them, and saved buffers; of those
// names that `wanted` says yes to, where it is given.
NamedTensors checkpoint_tensors(const Module& module,
                                const std::function<bool(const std::string&)>& wanted = {});
// SHA-256 over names, shapes and bytes of parameters and saved buffers: equal hashes mean
// bit-identical weights.
std::string parameters_hash(const Module& module);

}  // namespace parapet::nn

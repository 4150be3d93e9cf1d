// A model's weights as one file or as shards with an index, as `transformers` names them.
#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "parapet/core/json.h"
#include "parapet/nn/checkpoint.h"

namespace parapet::nn {
namespace {

namespace fs = std::filesystem;

std::vector<NamedTensors> cut(const NamedTensors& tensors, int64_t max_bytes) {
  std::vector<NamedTensors> shards;
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) {
    const auto size = static_cast<int64_t>(tensor.nbytes());
    if (shards.empty() || (bytes + size > max_bytes && !shards.back().empty())) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().emplace_back(name, tensor);
    bytes += size;
  }
  if (shards.empty()) shards.emplace_back();
  return shards;
}

std::string shard_name(const std::string& stem, size_t index, size_t count) {
  char numbers[32];
  std::snprintf(numbers, sizeof numbers, "-%05zu-of-%05zu", index + 1, count);
  return stem + numbers + ".safetensors";
}

// STEM-12345-of-12345.safetensors
bool is_shard(const std::string& name, const std::string& stem) {
  const std::string pattern = stem + "-#####-of-#####.safetensors";
  return name.size() == pattern.size() &&
         std::equal(name.begin(), name.end(), pattern.begin(),
                    [](char c, char p) { return p == '#' ? c >= '0' && c <= '9' : c == p; });
}

void remove_stale(const fs::path& folder, const std::string& stem,
                  const std::vector<fs::path>& written) {
  std::vector<fs::path> stale;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool weights = name == stem + ".safetensors" ||
                         name == stem + ".safetensors.index.json" || is_shard(name, stem);
    if (weights && std::find(written.begin(), written.end(), entry.path()) == written.end())
      stale.push_back(entry.path());
  }
  for (const fs::path& file : stale) fs::remove(file);
}

// `sizes` says what will be written; `make` gives the tensors of one shard when it is its turn.
using MakeShard = std::function<NamedTensors(const NamedTensors& shard)>;

std::vector<fs::path> write_shards(const fs::path& folder, const NamedTensors& sizes,
                                   int64_t max_shard_bytes, const std::string& stem,
                                   const MakeShard& make) {
  const auto shards = cut(sizes, max_shard_bytes);
  const fs::path index = folder / (stem + ".safetensors.index.json");
  std::vector<fs::path> written;
  if (shards.size() == 1) {
    written.push_back(folder / (stem + ".safetensors"));
    save_tensors(written[0], make(shards[0]));
    remove_stale(folder, stem, written);
    return written;
  }
  // Without an index a folder that is half written is refused; with the old one it would be read.
  fs::remove(index);
  nlohmann::json weight_map = nlohmann::json::object();
  int64_t bytes = 0, elements = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shard_name(stem, i, shards.size());
    save_tensors(folder / name, make(shards[i]));
    written.push_back(folder / name);
    for (const auto& [key, tensor] : shards[i]) {
      weight_map[key] = name;
      bytes += static_cast<int64_t>(tensor.nbytes());
      elements += tensor.numel();
    }
  }
  save_json(index, {{"metadata", {{"total_parameters", elements}, {"total_size", bytes}}},
                    {"weight_map", weight_map}});
  written.push_back(index);
  remove_stale(folder, stem, written);
  return written;
}

// The checkpoint's names, shapes and types without values. A merged weight has those of its base.
NamedTensors outline(const Module& module) {
  NamedTensors tensors;
  const auto add = [&](const std::string& name, const at::Tensor& value) {
    tensors.emplace_back(name,
                         at::empty(value.sizes(), value.options().device(c10::DeviceType::Meta)));
  };
  ConstVisitor visitor;
  visitor.parameter = [&](const std::string& name, const Parameter& p) { add(name, p.value); };
  visitor.buffer = [&](const std::string& name, const Buffer& buffer) {
    if (buffer.saved) add(name, buffer.value);
  };
  module.walk(visitor);
  return tensors;
}

}  // namespace

std::vector<fs::path> save_checkpoint(const fs::path& folder, const NamedTensors& tensors,
                                      int64_t max_shard_bytes, const std::string& stem) {
  return write_shards(folder, tensors, max_shard_bytes, stem,
                      [](const NamedTensors& shard) { return shard; });
}

std::vector<fs::path> save_checkpoint(const fs::path& folder, const Module& module,
                                      const TensorMap& map, int64_t max_shard_bytes,
                                      const std::string& stem) {
  return write_shards(
      folder, map.to_file(outline(module)), max_shard_bytes, stem, [&](const NamedTensors& shard) {
        std::set<std::string> names;
        for (const auto& [name, tensor] : shard) names.insert(name);
        // What a rule makes several file tensors of may lie in two shards.
        const auto part = map.to_file(checkpoint_tensors(module, [&](const std::string& name) {
          for (const std::string& in_file : map.file_names(name))
            if (names.contains(in_file)) return true;
          return false;
        }));
        NamedTensors made;
        for (const auto& [name, tensor] : part)
          if (names.contains(name)) made.emplace_back(name, tensor);
        return made;
      });
}

}  // namespace parapet::nn

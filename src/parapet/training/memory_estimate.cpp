#include "parapet/training/memory_estimate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "parapet/nn/linear.h"

namespace parapet {
namespace {

bool is_under(const std::string& path, const std::string& prefix) {
  return prefix.empty() || path == prefix ||
         (path.starts_with(prefix) && path.size() > prefix.size() && path[prefix.size()] == '.');
}

int64_t rows_at(const std::string& path, const TrainingShape& shape) {
  const RowsPerSample* best = nullptr;
  for (const RowsPerSample& rows : shape.rows)
    if (is_under(path, rows.prefix) &&
        (best == nullptr || rows.prefix.size() > best->prefix.size()))
      best = &rows;
  return shape.batch * (best == nullptr ? 1 : best->rows);
}

// Weights, gradients and the optimiser's state.
TrainingMemory fixed_parts(const nn::Module& module) {
  TrainingMemory memory;
  auto add = [&](const at::Tensor& tensor) {
    if (!tensor.defined()) return;
    memory.parameters += static_cast<int64_t>(tensor.nbytes());
    if (!tensor.requires_grad()) return;
    const int64_t floats = tensor.numel() * static_cast<int64_t>(sizeof(float));
    memory.gradients += floats;
    // The moments, a count of steps, and for other types a master copy.
    memory.optimizer += (tensor.scalar_type() == at::kFloat ? 2 : 3) * floats + 4;
  };
  nn::ConstVisitor visitor;
  visitor.parameter = [&](const std::string&, const nn::Parameter& p) { add(p.value); };
  visitor.buffer = [&](const std::string&, const nn::Buffer& b) { add(b.value); };
  visitor.linear = [&](const std::string&, const nn::Linear& linear) {
    if (!linear.lora) return;
    add(linear.lora->a);
    add(linear.lora->b);
  };
  module.walk(visitor);
  return memory;
}

// Layers that read what a sibling before them reads already, under the names that every family
// uses: keys and values beside queries, the second half of a gated MLP.
bool shares_input(const std::string& path) {
  return path.ends_with("k_proj") || path.ends_with("v_proj") || path.ends_with("up_proj");
}

struct LayerCost {
  std::string path;
  bool recompute = false;
  int64_t inside = 0;  // bytes kept by a plain forward pass
  int64_t input = 0;   // bytes of the layer's own input
};

bool trains(const nn::Parameter& parameter) {
  return parameter.value.defined() && parameter.value.requires_grad();
}

bool trains(const nn::Linear& linear) {
  return trains(linear.weight()) || trains(linear.bias()) ||
         (linear.lora && linear.lora->a.requires_grad());
}

// What the linear layers read and write, by the block they are in; the first entry is outside of
// all blocks.
std::vector<LayerCost> layer_costs(const nn::Module& module, const TrainingShape& shape) {
  const auto size = static_cast<int64_t>(c10::elementSize(shape.compute));
  std::vector<LayerCost> layers(1);
  std::set<std::string> reached;  // parts of the model in which something before trains
  const auto part_of = [](const std::string& path) { return path.substr(0, path.find('.')); };
  nn::ConstVisitor visitor;
  visitor.parameter = [&](const std::string& path, const nn::Parameter& parameter) {
    if (trains(parameter)) reached.insert(part_of(path));
  };
  visitor.layer = [&](const std::string& path, const nn::Layer& layer) {
    layers.push_back({path, layer.recompute});
  };
  visitor.linear = [&](const std::string& path, const nn::Linear& linear) {
    if (trains(linear)) reached.insert(part_of(path));
    if (!reached.contains(part_of(path))) return;
    LayerCost& layer =
        layers.size() > 1 && is_under(path, layers.back().path) ? layers.back() : layers.front();
    const int64_t rows = rows_at(path, shape);
    const int64_t read = shares_input(path) ? 0 : linear.in_features();
    layer.inside += rows * (read + linear.out_features()) * size;
    if (layer.input == 0) layer.input = rows * linear.in_features() * size;
  };
  module.walk(visitor);
  // The norms before attention and before the MLP keep what they read as well.
  for (size_t i = 1; i < layers.size(); ++i) layers[i].inside += 2 * layers[i].input;
  return layers;
}

}  // namespace

TrainingMemory estimate_training_memory(const nn::Module& module, const TrainingShape& shape) {
  TrainingMemory memory = fixed_parts(module);
  if (memory.gradients == 0) return memory;
  int64_t largest = 0;  // the backward pass holds the inside of one recomputed layer at a time
  for (const LayerCost& layer : layer_costs(module, shape)) {
    memory.activations += layer.recompute ? layer.input : layer.inside;
    if (layer.recompute) largest = std::max(largest, layer.inside);
  }
  memory.activations += largest;
  return memory;
}

}  // namespace parapet

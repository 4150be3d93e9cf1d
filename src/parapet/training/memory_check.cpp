#include "parapet/training/memory_check.h"

#include <nlohmann/json.hpp>

#include "parapet/core/free_memory.h"
#include "parapet/core/strings.h"
#include "parapet/nn/device_graph.h"

namespace parapet {

int64_t MemoryCheck::taken() const {
  const TrainingMemory& memory = need.memory;
  return (on_cpu ? memory.total() : memory.total() - memory.parameters) * processes;
}

std::string MemoryCheck::text() const {
  const TrainingMemory& memory = need.memory;
  std::string text =
      "training takes about " + format_bytes(memory.total()) +
      (processes > 1 ? " in each of " + std::to_string(processes) + " processes" : "") +
      ": weights " + format_bytes(memory.parameters) + ", gradients " +
      format_bytes(memory.gradients) + ", optimiser " + format_bytes(memory.optimizer) +
      ", activations " + format_bytes(memory.activations);
  if (free >= 0) text += "; " + format_bytes(free) + " are free";
  return text;
}

std::string MemoryCheck::warning() const {
  if (fits()) return "";
  std::string text = "training will probably not fit into memory: it takes about " +
                     format_bytes(taken()) + " more, and " + format_bytes(free) + " are free";
  if (!need.remedies.empty()) text += ". Less takes " + join(need.remedies, "; ");
  return text;
}

nlohmann::json MemoryCheck::to_json() const {
  const TrainingMemory& memory = need.memory;
  nlohmann::json json = {{"total_bytes", memory.total()},
                         {"weights_bytes", memory.parameters},
                         {"gradients_bytes", memory.gradients},
                         {"optimizer_bytes", memory.optimizer},
                         {"activations_bytes", memory.activations},
                         {"processes", processes},
                         {"fits", fits()}};
  if (free >= 0) json["free_bytes"] = free;
  if (resident >= 0) json["resident_before_bytes"] = resident;
  return json;
}

MemoryCheck check_memory(MemoryNeed need, c10::Device device, int64_t processes) {
  MemoryCheck check;
  check.need = std::move(need);
  check.on_cpu = device.is_cpu();
  check.resident = resident_memory();
  check.free = check.on_cpu ? free_memory() : nn::free_memory(device);
  // Each process has a device of its own.
  check.processes = check.on_cpu ? processes : 1;
  return check;
}

}  // namespace parapet

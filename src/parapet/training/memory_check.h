// Before the first step: will it fit?
#pragma once
#include <c10/core/Device.h>
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/training/memory_estimate.h"

namespace parapet {

// What a task's steps take in one process, and what a user may change to need less.
struct MemoryNeed {
  TrainingMemory memory;
  std::vector<std::string> remedies;  // "a smaller --batch-size (32 now)"
};

struct MemoryCheck {
  MemoryNeed need;
  int64_t free = -1;      // bytes, where the task computes; -1 = not known
  int64_t processes = 1;  // that share them
  int64_t resident = -1;  // what this process held when it looked; -1 = not known
  bool on_cpu = true;

  // What training adds to `free`. On the CPU that is all of it: weights that are read from mapped
  // files lie in pages that the system counts as free until training writes to them. A device holds
  // the weights already.
  int64_t taken() const;
  bool fits() const { return free < 0 || taken() <= free; }
  // "training takes about 2.1 GB: weights 0.6 GB, ...; 20 GB are free"
  std::string text() const;
  // What to change; empty when it fits.
  std::string warning() const;
  nlohmann::json to_json() const;
};

// Looks at what is free on `device` now.
MemoryCheck check_memory(MemoryNeed need, c10::Device device, int64_t processes);

}  // namespace parapet

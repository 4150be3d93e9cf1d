// What CUDA's own interface offers: small models as one launch, and how much memory is free. A
// build without CUDA's headers cannot record, and asks torch's allocator for the memory.
#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace parapet::nn {

// Work recorded once and given to the device in one launch each time (a CUDA graph). Recorded work
// reads and writes the same memory every time: its inputs are copied in before, its results read
// after.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  // In the current stream.
  virtual void replay() = 0;
};

// Whether this build can record on `device`.
bool can_record(at::Device device);
// Runs `work` a few times, then records it; what it makes must stay alive as long as the graph.
// Other threads may use the device meanwhile. Throws what torch throws when `work` cannot be
// recorded, e.g. because it waits for the device.
std::unique_ptr<DeviceGraph> record_graph(at::Device device, const std::function<void()>& work);

// Bytes that are free on a device other than the CPU; -1 where that is not known.
int64_t free_memory(at::Device device);

}  // namespace parapet::nn

// Data parallelism over c10d with torchrun's variables: RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT,
// LOCAL_RANK, LOCAL_WORLD_SIZE.
#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "parapet/training/communicator.h"

namespace parapet {

// From torchrun's variables through `getter` (std::getenv at the edge; null = unset). None set = a
// world of one. UsageError lists every variable that is missing, not a number or out of range.
WorldInfo world_from_environment(const std::function<const char*(const char*)>& getter);

// World of one when `info.world_size` is 1. Gloo on the CPU; NCCL for `device` "cuda" where the
// library was built with it. UsageError on a bad world, a time-out names the missing peers.
std::unique_ptr<Communicator> make_communicator(const WorldInfo& info, const std::string& device);

// Where this process computes under --device `option` (cpu | cuda[:n]): with "cuda" each process of
// a machine has the device of its LOCAL_RANK. UsageError when there is no such device, when there
// are more processes than devices, or when several processes are to share a numbered one.
at::Device rank_device(const std::string& option, const Communicator& communicator);
// The same, where the number of devices is known.
at::Device rank_device(const std::string& option, int64_t local_rank, int64_t world_size,
                       int64_t devices);

}  // namespace parapet

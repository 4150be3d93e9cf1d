// Data parallelism over c10d with torchrun's variables: RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT,
// LOCAL_RANK. One process = one rank; a world of one costs nothing.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace parapet {

struct WorldInfo {
  int64_t rank = 0;
  int64_t world_size = 1;
  int64_t local_rank = 0;
  std::string master_addr = "127.0.0.1";
  int64_t master_port = 29500;
  bool launcher_store = false;    // the launcher (torchrun) serves the store, rank 0 must not
  std::string attempt = "0";      // restarts of a launcher must not meet the keys of earlier ones
  int64_t timeout_seconds = 300;  // to join, and of each collective
};

// From torchrun's variables through `getter` (std::getenv at the edge; null = unset). None set = a
// world of one. UsageError lists every variable that is missing, not a number or out of range.
WorldInfo world_from_environment(const std::function<const char*(const char*)>& getter);

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int64_t rank() const = 0;
  virtual int64_t world_size() const = 0;
  bool is_main() const { return rank() == 0; }
  // In place; every rank passes the same shapes.
  virtual void all_reduce_mean(std::vector<at::Tensor>& tensors) = 0;
  virtual void broadcast(std::vector<at::Tensor>& tensors, int64_t root = 0) = 0;
  // [n, d] -> [world_size * n, d], rank order. Differentiable: the gradient of each rank's own
  // rows is summed over all ranks.
  virtual at::Tensor gather(const at::Tensor& tensor) = 0;
  virtual void barrier() = 0;
};

// World of one when `info.world_size` is 1. Gloo on the CPU; NCCL for `device` "cuda" where the
// library was built with it. UsageError on a bad world, a time-out names the missing peers.
std::unique_ptr<Communicator> make_communicator(const WorldInfo& info, const std::string& device);

}  // namespace parapet

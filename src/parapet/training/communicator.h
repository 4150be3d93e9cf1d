// What processes that train together do with each other. One process = one rank; a world of one
// costs nothing.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "parapet/core/context.h"

namespace parapet {

// This process among the others, as torchrun says it.
struct WorldInfo {
  int64_t rank = 0;
  int64_t world_size = 1;
  int64_t local_rank = 0;
  int64_t local_world_size = 0;  // processes on this machine; 0 = all of them
  std::string master_addr = "127.0.0.1";
  int64_t master_port = 29500;
  bool launcher_store = false;    // the launcher (torchrun) serves the store, rank 0 must not
  std::string attempt = "0";      // restarts of a launcher must not meet the keys of earlier ones
  int64_t timeout_seconds = 300;  // to join, and of each collective
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int64_t rank() const = 0;
  virtual int64_t world_size() const = 0;
  // Among the processes of this machine.
  virtual int64_t local_rank() const { return rank(); }
  virtual int64_t local_world_size() const { return world_size(); }
  bool is_main() const { return rank() == 0; }
  // In place; every rank passes the same shapes.
  virtual void all_reduce_sum(std::vector<at::Tensor>& tensors) = 0;
  virtual void broadcast(std::vector<at::Tensor>& tensors, int64_t root = 0) = 0;
  // [n, d] -> [world_size * n, d], rank order. Differentiable: the gradient of each rank's own
  // rows is summed over all ranks.
  virtual at::Tensor gather(const at::Tensor& tensor) = 0;
  virtual void barrier() = 0;
  // Waits until every process has come here, however long that takes: for set-up work that lasts
  // longer on one process than on another, which a collective's time limit would end. Throws
  // Cancelled on Ctrl-C, and names a process that has ended or gives no sign of life.
  virtual void meet(const Context& context) = 0;
};

}  // namespace parapet

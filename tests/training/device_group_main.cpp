// The collectives of a process group on one device, also with a single process, where the training
// loop would not make one: parapet_device_group DEVICE, with torchrun's variables. Ends with "ok".
#include <ATen/ATen.h>

#include <cstdlib>
#include <iostream>

#include "parapet/core/error.h"
#include "parapet/nn/device.h"
#include "parapet/training/distributed.h"
#include "parapet/training/process_group.h"

namespace {

void require(bool holds, const char* what) {
  if (!holds) throw parapet::CheckFailed(std::string(what) + " gave a wrong result");
}

void check(parapet::Communicator& world, at::Device device) {
  const auto ranks = static_cast<double>(world.world_size()),
             rank = static_cast<double>(world.rank());
  const auto whole = at::TensorOptions(at::kFloat).device(device);
  std::vector<at::Tensor> sums = {at::full({3}, rank + 1, whole),
                                  at::full({2}, 1.0, whole.dtype(at::kBFloat16))};
  world.all_reduce_sum(sums);
  require(sums[0].eq(ranks * (ranks + 1) / 2).all().item<bool>(), "all-reduce");
  require(sums[1].eq(ranks).all().item<bool>(), "all-reduce of bfloat16");
  std::vector<at::Tensor> first = {at::full({4}, rank, whole)};
  world.broadcast(first);
  require(first[0].eq(0).all().item<bool>(), "broadcast");
  at::Tensor own = at::full({2, 2}, rank, whole).requires_grad_(true);
  const at::Tensor all = world.gather(own);
  require(all.size(0) == 2 * world.world_size() && all.device() == own.device(), "gather");
  require(all[2 * world.rank()][0].eq(rank).all().item<bool>(), "gather");
  (all.sum() * (rank + 1)).backward();
  require(own.grad().eq(ranks * (ranks + 1) / 2).all().item<bool>(), "gather's backward pass");
  world.barrier();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 2) throw parapet::UsageError("usage: parapet_device_group cpu|cuda");
    const auto info = parapet::world_from_environment(
        [](const char* name) -> const char* { return std::getenv(name); });
    const at::Device device = parapet::rank_device(argv[1], info.local_rank, info.world_size,
                                                   parapet::nn::cuda_devices());
    const auto world = parapet::join_process_group(info, argv[1]);
    check(*world, device);
    std::cout << "ok" << std::endl;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}

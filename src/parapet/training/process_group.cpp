#include "parapet/training/process_group.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <map>
#include <tuple>

#include "parapet/core/error.h"
#include "parapet/training/backends.h"
#include "parapet/training/liveness.h"
#include "parapet/training/rendezvous.h"

namespace parapet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class ProcessGroupWorld final : public Communicator {
 public:
  ProcessGroupWorld(const WorldInfo& info, c10::intrusive_ptr<c10d::Store> store,
                    c10::intrusive_ptr<c10d::Backend> backend, at::Device device)
      : info_(info),
        store_(std::move(store)),
        backend_(std::move(backend)),
        device_(device),
        liveness_(store_, info) {}

  int64_t rank() const override { return info_.rank; }
  int64_t world_size() const override { return info_.world_size; }
  int64_t local_rank() const override { return info_.local_rank; }
  int64_t local_world_size() const override {
    return info_.local_world_size > 0 ? info_.local_world_size : info_.world_size;
  }
  void all_reduce_sum(std::vector<at::Tensor>& tensors) override;
  void broadcast(std::vector<at::Tensor>& tensors, int64_t root) override;
  at::Tensor gather(const at::Tensor& tensor) override;
  void barrier() override;
  void meet(const Context& context) override { liveness_.meet(context); }

  at::Tensor sum(const at::Tensor& tensor);          // a new tensor, on `tensor`'s device
  at::Tensor gather_rows(const at::Tensor& tensor);  // not differentiable

 private:
  void wait(const char* what, const std::function<c10::intrusive_ptr<c10d::Work>()>& start);
  // One contiguous tensor per type on the backend's device, so that each costs one collective.
  void flat(std::vector<at::Tensor>& tensors, const std::function<void(at::Tensor&)>& fn);

  WorldInfo info_;
  c10::intrusive_ptr<c10d::Store> store_;
  c10::intrusive_ptr<c10d::Backend> backend_;
  at::Device device_;
  Liveness liveness_;
};

// Rows of all ranks; backward sums what every rank wants of this rank's rows.
struct GatherFunction : torch::autograd::Function<GatherFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& tensor,
                            ProcessGroupWorld* world) {
    context->saved_data["world"] = reinterpret_cast<int64_t>(world);
    context->saved_data["rows"] = tensor.size(0);
    return world->gather_rows(tensor);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto* world = reinterpret_cast<ProcessGroupWorld*>(context->saved_data["world"].toInt());
    const int64_t rows = context->saved_data["rows"].toInt();
    const auto total = world->sum(gradients.front());
    return {total.narrow(0, world->rank() * rows, rows), at::Tensor()};
  }
};

void ProcessGroupWorld::wait(const char* what,
                             const std::function<c10::intrusive_ptr<c10d::Work>()>& start) {
  try {
    start()->wait();
  } catch (const std::exception& error) {
    const std::string reason(error.what());
    throw Error(ErrorKind::kInternal,
                "rank " + std::to_string(rank()) + " of " + std::to_string(world_size()) + ": " +
                    what +
                    " failed, another process ended or stopped answering; see its output. (" +
                    reason.substr(0, std::min<size_t>(reason.find('\n'), 300)) + ")");
  }
}

void ProcessGroupWorld::flat(std::vector<at::Tensor>& tensors,
                             const std::function<void(at::Tensor&)>& fn) {
  const at::NoGradGuard no_grad;
  std::map<at::ScalarType, std::vector<at::Tensor>> by_type;
  for (const auto& tensor : tensors) by_type[tensor.scalar_type()].push_back(tensor.detach());
  for (auto& [type, group] : by_type) {
    std::vector<at::Tensor> pieces;
    for (const auto& tensor : group) pieces.push_back(tensor.reshape(-1).to(device_));
    at::Tensor buffer = at::cat(pieces);
    fn(buffer);
    int64_t offset = 0;
    for (auto& tensor : group) {
      tensor.copy_(buffer.narrow(0, offset, tensor.numel()).view(tensor.sizes()));
      offset += tensor.numel();
    }
  }
}

void ProcessGroupWorld::all_reduce_sum(std::vector<at::Tensor>& tensors) {
  flat(tensors, [&](at::Tensor& buffer) {
    std::vector<at::Tensor> list = {buffer};
    wait("all-reduce", [&] { return backend_->allreduce(list); });
  });
}

void ProcessGroupWorld::broadcast(std::vector<at::Tensor>& tensors, int64_t root) {
  flat(tensors, [&](at::Tensor& buffer) {
    std::vector<at::Tensor> list = {buffer};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    wait("broadcast", [&] { return backend_->broadcast(list, options); });
  });
}

at::Tensor ProcessGroupWorld::sum(const at::Tensor& tensor) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> list = {tensor.detach().to(device_).clone(at::MemoryFormat::Contiguous)};
  wait("all-reduce", [&] { return backend_->allreduce(list); });
  return list.front().to(tensor.device());
}

at::Tensor ProcessGroupWorld::gather_rows(const at::Tensor& tensor) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> input = {tensor.detach().to(device_).contiguous()};
  auto shape = tensor.sizes().vec();
  shape[0] *= world_size();
  const auto rows = at::empty(shape, input.front().options());
  std::vector<std::vector<at::Tensor>> output = {rows.chunk(world_size(), 0)};
  wait("gather", [&] { return backend_->allgather(output, input); });
  return rows.to(tensor.device());
}

at::Tensor ProcessGroupWorld::gather(const at::Tensor& tensor) {
  if (!tensor.requires_grad() || !at::GradMode::is_enabled()) return gather_rows(tensor);
  return GatherFunction::apply(tensor, this);
}

void ProcessGroupWorld::barrier() {
  const at::NoGradGuard no_grad;
  sum(at::zeros({1}, at::TensorOptions().device(device_)));
}

}  // namespace

std::unique_ptr<Communicator> join_process_group(const WorldInfo& info, const std::string& device) {
  const bool cuda = device.rfind("cuda", 0) == 0;
  const at::Device place =
      cuda ? at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(info.local_rank)) : at::kCPU;
  auto store = rendezvous(info);
  auto backend = cuda ? make_nccl(store, info) : make_gloo(store, info);
  return std::make_unique<ProcessGroupWorld>(info, std::move(store), std::move(backend), place);
}

}  // namespace parapet

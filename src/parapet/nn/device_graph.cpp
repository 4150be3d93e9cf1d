#include "parapet/nn/device_graph.h"

#include "parapet/nn/torch_compat.h"

#ifdef PARAPET_HAS_CUDA_GRAPHS
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#else
#include "parapet/core/error.h"
#endif

namespace parapet::nn {

#ifdef PARAPET_HAS_CUDA_GRAPHS
namespace {

// Libraries set themselves up in the first runs, which a recording does not allow.
constexpr int kRunsBefore = 3;

class CudaGraph final : public DeviceGraph {
 public:
  CudaGraph(at::Device device, const std::function<void()>& work) : device_(device) {
    const c10::cuda::CUDAStream now = c10::cuda::getCurrentCUDAStream(device.index());
    const c10::cuda::CUDAStream side = c10::cuda::getStreamFromPool(false, device.index());
    now.synchronize();
    {
      const c10::cuda::CUDAStreamGuard on_side(side);
      for (int i = 0; i < kRunsBefore; ++i) work();
      side.synchronize();
      graph_.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
      try {
        work();
      } catch (...) {
        end_after_failure();
        throw;
      }
      graph_.capture_end();
    }
    side.synchronize();
  }

  void replay() override {
    const c10::cuda::CUDAGuard on_device(device_);
    graph_.replay();
  }

 private:
  void end_after_failure() noexcept {
    try {
      graph_.capture_end();
    } catch (const std::exception&) {
      // The recording is void already; what went wrong in `work` is reported.
    }
  }

  at::Device device_;
  at::cuda::CUDAGraph graph_;
};

}  // namespace

bool can_record(at::Device device) { return device.is_cuda(); }

std::unique_ptr<DeviceGraph> record_graph(at::Device device, const std::function<void()>& work) {
  return std::make_unique<CudaGraph>(device, work);
}

int64_t free_memory(at::Device device) {
  if (!device.is_cuda()) return compat::free_device_memory(device);
  const c10::cuda::CUDAGuard on_device(device);
  size_t free = 0, total = 0;
  C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  return static_cast<int64_t>(free);
}
#else
bool can_record(at::Device) { return false; }

std::unique_ptr<DeviceGraph> record_graph(at::Device, const std::function<void()>&) {
  throw Error(ErrorKind::kInternal, "this build cannot record CUDA graphs");
}

int64_t free_memory(at::Device device) { return compat::free_device_memory(device); }
#endif

}  // namespace parapet::nn

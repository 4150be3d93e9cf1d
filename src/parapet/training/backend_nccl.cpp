#include "parapet/training/backends.h"

#ifdef PARAPET_HAS_NCCL
#include <chrono>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#else
#include "parapet/core/error.h"
#endif

namespace parapet {

#ifdef PARAPET_HAS_NCCL
c10::intrusive_ptr<c10d::Backend> make_nccl(const c10::intrusive_ptr<c10d::Store>& store,
                                            const WorldInfo& info) {
  using Nccl = c10d::ProcessGroupNCCL;
  auto options = Nccl::Options::create();
  options->timeout = std::chrono::seconds(info.timeout_seconds);
  return c10::make_intrusive<Nccl>(store, static_cast<int>(info.rank),
                                   static_cast<int>(info.world_size), std::move(options));
}
#else
c10::intrusive_ptr<c10d::Backend> make_nccl(const c10::intrusive_ptr<c10d::Store>&,
                                            const WorldInfo&) {
  throw UsageError(
      "WORLD_SIZE > 1 on CUDA needs NCCL, which this build lacks: it was built without a CUDA "
      "torch wheel, or without all the headers that NCCL takes (tools/setup/cuda_headers.py names "
      "the packages); build again with them, or train with --device cpu");
}
#endif

}  // namespace parapet

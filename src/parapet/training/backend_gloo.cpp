#include <chrono>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "parapet/training/backends.h"

namespace parapet {
namespace {

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0;
}

}  // namespace

c10::intrusive_ptr<c10d::Backend> make_gloo(const c10::intrusive_ptr<c10d::Store>& store,
                                            const WorldInfo& info) {
  using Gloo = c10d::ProcessGroupGloo;
  auto options = c10::make_intrusive<Gloo::Options>(std::chrono::seconds(info.timeout_seconds));
  // On one machine the host name may resolve to an address that is not reachable (containers).
  options->devices.push_back(is_loopback(info.master_addr)
                                 ? Gloo::createDeviceForHostname("127.0.0.1")
                                 : Gloo::createDefaultDevice());
  return c10::make_intrusive<Gloo>(store, static_cast<int>(info.rank),
                                   static_cast<int>(info.world_size), std::move(options));
}

}  // namespace parapet

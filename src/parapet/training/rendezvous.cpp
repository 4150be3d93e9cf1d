#include "parapet/training/rendezvous.h"

#include <chrono>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/training/meters.h"

namespace parapet {
namespace {

std::string address(const WorldInfo& info) {
  return info.master_addr + ":" + std::to_string(info.master_port);
}

std::string rank_key(int64_t rank) { return "joined/" + std::to_string(rank); }

c10::intrusive_ptr<c10d::Store> open_store(const WorldInfo& info) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(info.master_port);
  options.isServer = info.rank == 0 && !info.launcher_store;
  options.waitWorkers = false;
  options.multiTenant = true;
  options.timeout = std::chrono::seconds(info.timeout_seconds);
  try {
    return c10::make_intrusive<c10d::TCPStore>(info.master_addr, options);
  } catch (const std::exception& error) {
    const std::string where = address(info);
    if (options.isServer)
      throw UsageError("rank 0 cannot listen at " + where +
                       ": is MASTER_PORT in use, and MASTER_ADDR an address of this machine? (" +
                       std::string(error.what()).substr(0, 200) + ")");
    throw UsageError("rank " + std::to_string(info.rank) + " cannot reach rank 0 at " + where +
                     " within " + std::to_string(info.timeout_seconds) +
                     " s: is it running, and are MASTER_ADDR and MASTER_PORT the same everywhere?");
  }
}

std::vector<std::string> missing_ranks(c10d::Store& store, int64_t world_size) {
  std::vector<std::string> missing;
  for (int64_t r = 0; r < world_size; ++r)
    if (!store.check({rank_key(r)})) missing.push_back(std::to_string(r));
  return missing;
}

}  // namespace

c10::intrusive_ptr<c10d::Store> rendezvous(const WorldInfo& info) {
  const Stopwatch watch;
  c10::intrusive_ptr<c10d::Store> store =
      c10::make_intrusive<c10d::PrefixStore>("parapet/" + info.attempt, open_store(info));
  store->set(rank_key(info.rank), std::vector<uint8_t>{1});
  std::vector<std::string> keys;
  for (int64_t r = 0; r < info.world_size; ++r) keys.push_back(rank_key(r));
  const auto left = static_cast<double>(info.timeout_seconds) - watch.seconds();
  try {
    store->wait(keys, std::chrono::milliseconds(std::max<int64_t>(int64_t(left * 1000), 100)));
  } catch (const std::exception&) {
    throw UsageError(
        "waited " + std::to_string(info.timeout_seconds) + " s at " + address(info) +
        " for ranks that did not join: " + join(missing_ranks(*store, info.world_size), ", ") +
        ". Start all WORLD_SIZE=" + std::to_string(info.world_size) + " processes");
  }
  return store;
}

}  // namespace parapet

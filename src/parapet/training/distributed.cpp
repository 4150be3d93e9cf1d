#include "parapet/training/distributed.h"

#include <charconv>

#include "parapet/core/error.h"
#include "parapet/core/options.h"
#include "parapet/nn/device.h"
#include "parapet/training/process_group.h"
#include "parapet/training/single_process.h"

namespace parapet {
namespace {

using Getter = std::function<const char*(const char*)>;

// Reads an integer variable; `value` stays when it is unset. Returns whether it is set.
bool read_integer(const Getter& getter, const char* name, int64_t& value, Problems& problems) {
  const char* text = getter(name);
  if (text == nullptr || *text == '\0') return false;
  const std::string_view view(text);
  int64_t parsed = 0;
  const auto [end, code] = std::from_chars(view.data(), view.data() + view.size(), parsed);
  if (code != std::errc() || end != view.data() + view.size())
    problems.add(name, "'" + std::string(view) + "' is not a whole number");
  else
    value = parsed;
  return true;
}

void check(const WorldInfo& info, Problems& problems) {
  problems.require(info.world_size >= 1, "WORLD_SIZE", "must be at least 1");
  problems.require(
      info.rank >= 0 && info.rank < std::max<int64_t>(info.world_size, 1), "RANK",
      "is " + std::to_string(info.rank) + ", must be in 0.." + std::to_string(info.world_size - 1));
  problems.require(info.local_rank >= 0, "LOCAL_RANK", "must be >= 0");
  problems.require(info.local_world_size >= 0, "LOCAL_WORLD_SIZE", "must be >= 0");
  problems.require(info.master_port >= 1 && info.master_port <= 65535, "MASTER_PORT",
                   "must be in 1..65535");
}

}  // namespace

WorldInfo world_from_environment(const Getter& getter) {
  WorldInfo info;
  Problems problems;
  const bool has_rank = read_integer(getter, "RANK", info.rank, problems);
  const bool has_size = read_integer(getter, "WORLD_SIZE", info.world_size, problems);
  if (has_rank && !has_size) problems.add("WORLD_SIZE", "is not set although RANK is");
  if (has_size && !has_rank && info.world_size > 1)
    problems.add("RANK", "is not set although WORLD_SIZE is");
  if (!read_integer(getter, "LOCAL_RANK", info.local_rank, problems)) info.local_rank = info.rank;
  read_integer(getter, "LOCAL_WORLD_SIZE", info.local_world_size, problems);
  const bool has_port = read_integer(getter, "MASTER_PORT", info.master_port, problems);
  const char* host = getter("MASTER_ADDR");
  if (host != nullptr && *host != '\0') info.master_addr = host;
  if (info.world_size > 1) {
    problems.require(host != nullptr && *host != '\0', "MASTER_ADDR",
                     "is not set; with WORLD_SIZE > 1 every process needs the address of rank 0");
    problems.require(has_port, "MASTER_PORT", "is not set; any free port, the same everywhere");
  }
  if (problems.empty()) check(info, problems);
  problems.throw_if_any("data-parallel environment (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT)");
  const char* agent = getter("TORCHELASTIC_USE_AGENT_STORE");
  info.launcher_store = agent != nullptr && std::string_view(agent) == "True";
  const char* attempt = getter("TORCHELASTIC_RESTART_COUNT");
  if (attempt != nullptr) info.attempt = attempt;
  return info;
}

at::Device rank_device(const std::string& option, int64_t local_rank, int64_t world_size,
                       int64_t devices) {
  const at::Device device = nn::require_device(option, devices);
  if (!device.is_cuda() || world_size == 1) return device;
  if (at::Device(option).has_index())
    throw UsageError("--device " + option + ": " + std::to_string(world_size) +
                     " processes cannot share a device; give --device cuda, and each process takes "
                     "that of its LOCAL_RANK");
  if (local_rank < devices) return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(local_rank));
  throw UsageError("--device cuda: LOCAL_RANK is " + std::to_string(local_rank) +
                   ", but this machine has " + std::to_string(devices) +
                   (devices == 1 ? " device" : " devices") +
                   "; start at most one process per device");
}

at::Device rank_device(const std::string& option, const Communicator& communicator) {
  const at::Device device =
      rank_device(option, communicator.local_rank(), communicator.world_size(), nn::cuda_devices());
  nn::prepare_device(device);
  return device;
}

std::unique_ptr<Communicator> make_communicator(const WorldInfo& info, const std::string& device) {
  Problems problems;
  check(info, problems);
  problems.throw_if_any("data-parallel world");
  if (info.world_size == 1) return std::make_unique<SingleProcess>();
  return join_process_group(info, device);
}

}  // namespace parapet

#include "parapet/training/random_state.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <mutex>

#include "parapet/core/error.h"
#include "parapet/formats/safetensors.h"
#include "parapet/nn/checkpoint.h"

namespace parapet {
namespace {

at::Generator generator_for(const std::string& name, at::Device device) {
  if (name == "rng.cpu") return at::detail::getDefaultCPUGenerator();
  return at::globalContext().defaultGenerator(device);
}

}  // namespace

nn::NamedTensors generator_states(at::Device device) {
  nn::NamedTensors states;
  std::vector<std::string> names = {"rng.cpu"};
  if (device.is_cuda()) names.push_back("rng.cuda");
  for (const auto& name : names) {
    auto generator = generator_for(name, device);
    const std::lock_guard<std::mutex> lock(generator.mutex());
    states.emplace_back(name, generator.get_state());
  }
  return states;
}

void restore_generator_states(const std::filesystem::path& file, int64_t rank, at::Device device,
                              const Context& context) {
  const auto archive = TensorArchive::open(file);
  for (const auto& [name, own] : generator_states(device)) {
    const TensorView* view = archive.find(name);
    if (view == nullptr) {
      context.warn("resuming on " + device.str() +
                   " a run that was saved on another device: what '" + name +
                   "' draws (dropout) starts anew, so the result will differ from an "
                   "unbroken run");
      continue;
    }
    const at::Tensor rows = nn::to_tensor(*view);
    if (rows.scalar_type() != at::kByte || rows.dim() != 2 || rows.size(1) != own.numel() ||
        rank >= rows.size(0))
      throw DataError(file.string(), "'" + name + "' is not the state of a random generator",
                      "The checkpoint is damaged, or of another version of torch.");
    auto generator = generator_for(name, device);
    const std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(rows[rank].clone());  // it misreads a tensor that is a slice of another
  }
}

}  // namespace parapet

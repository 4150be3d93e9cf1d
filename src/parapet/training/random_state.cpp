#include "parapet/training/random_state.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <mutex>

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

void restore_generator_states(const nn::NamedTensors& states, at::Device device) {
  for (const auto& [name, state] : states) {
    auto generator = generator_for(name, device);
    const std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(state.clone());  // it misreads a tensor that is a slice of another
  }
}

}  // namespace parapet

#include "parapet/nn/recompute.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <mutex>
#include <optional>

#include "parapet/nn/lora_off.h"

namespace parapet::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// The generators' states, of the CPU and of one device.
class RandomState {
 public:
  explicit RandomState(at::Device device) : cpu_(take(at::detail::getDefaultCPUGenerator())) {
    if (device.is_cpu()) return;
    device_ = device;
    other_ = take(at::globalContext().defaultGenerator(device));
  }
  void restore() const {
    put(at::detail::getDefaultCPUGenerator(), cpu_);
    if (device_) put(at::globalContext().defaultGenerator(*device_), other_);
  }

 private:
  static at::Tensor take(at::Generator generator) {
    const std::lock_guard<std::mutex> lock(generator.mutex());
    return generator.get_state();
  }
  static void put(at::Generator generator, const at::Tensor& state) {
    const std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(state.clone());
  }
  at::Tensor cpu_, other_;
  std::optional<at::Device> device_;
};

// Puts the random numbers back to where they were, also after an exception.
class RandomReplay {
 public:
  RandomReplay(const RandomState& then, at::Device device) : now_(device) { then.restore(); }
  ~RandomReplay() { now_.restore(); }
  RandomReplay(const RandomReplay&) = delete;
  RandomReplay& operator=(const RandomReplay&) = delete;

 private:
  RandomState now_;
};

// What the first pass leaves for the second, carried in the graph.
struct Replay : torch::CustomClassHolder {
  Replay(RecomputedPass p, at::Device d) : pass(std::move(p)), device(d), random(d) {}
  RecomputedPass pass;
  at::Device device;
  RandomState random;
  bool lora_off = LoraOff::active();
};

variable_list leaves_like(const variable_list& inputs) {
  variable_list leaves;
  for (const at::Tensor& input : inputs)
    leaves.push_back(input.detach().set_requires_grad(input.requires_grad()));
  return leaves;
}

class Recompute : public torch::autograd::Function<Recompute> {
 public:
  // `anchor` requires a gradient, so that the backward pass comes by even where only parameters
  // inside do.
  static Variable forward(AutogradContext* context, const Variable& anchor,
                          const c10::intrusive_ptr<torch::CustomClassHolder>& replay,
                          at::TensorList inputs) {
    context->save_for_backward(inputs.vec());
    context->saved_data["replay"] = at::IValue::make_capsule(replay);
    return static_cast<Replay&>(*replay).pass(inputs.vec());
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto holder = context->saved_data["replay"].toCapsule();
    const auto& replay = static_cast<const Replay&>(*holder);
    const variable_list leaves = leaves_like(context->get_saved_variables());
    at::Tensor output;
    {
      const RandomReplay random(replay.random, replay.device);
      const LoraOff lora(replay.lora_off);
      const at::AutoGradMode on(true);
      output = replay.pass(leaves);
    }
    variable_list result = {Variable(), Variable()};  // of the anchor and the replay
    if (output.requires_grad()) torch::autograd::backward({output}, {grads[0]});
    for (const at::Tensor& leaf : leaves) result.push_back(leaf.grad());
    return result;
  }
};

}  // namespace

at::Tensor recompute(RecomputedPass pass, const std::vector<at::Tensor>& inputs) {
  if (!at::GradMode::is_enabled()) return pass(inputs);
  const at::Device device = inputs.empty() ? at::Device(at::kCPU) : inputs.front().device();
  const at::Tensor anchor = at::empty({0}, at::kFloat).set_requires_grad(true);
  return Recompute::apply(anchor,
                          c10::intrusive_ptr<torch::CustomClassHolder>(
                              c10::make_intrusive<Replay>(std::move(pass), device)),
                          at::TensorList(inputs));
}

}  // namespace parapet::nn

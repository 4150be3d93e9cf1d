#include "parapet/nn/module_state.h"

#include <ATen/ATen.h>

#include <optional>

#include "parapet/nn/linear.h"

namespace parapet::nn {

ParameterCounts count_parameters(const Module& module) {
  ParameterCounts counts;
  auto add = [&](const at::Tensor& tensor) {
    if (!tensor.defined()) return;
    counts.total += tensor.numel();
    if (tensor.requires_grad()) counts.trainable += tensor.numel();
  };
  ConstVisitor visitor;
  visitor.parameter = [&](const std::string&, const Parameter& parameter) { add(parameter.value); };
  visitor.linear = [&](const std::string&, const Linear& linear) {
    if (!linear.lora) return;
    add(linear.lora->a);
    add(linear.lora->b);
  };
  module.walk(visitor);
  return counts;
}

void set_requires_grad(Module& module, bool on) {
  each_parameter(module, [&](const std::string&, Parameter& parameter) {
    if (parameter.value.defined() && parameter.value.requires_grad() != on)
      parameter.value.requires_grad_(on);
  });
}

void move_to(Module& module, at::Device device, at::ScalarType dtype) {
  const at::NoGradGuard no_grad;
  // A leaf stays a leaf that trains if it did; untouched where nothing changes.
  auto moved = [&](at::Tensor& tensor, at::ScalarType type) {
    if (!tensor.defined()) return;
    const bool trains = tensor.requires_grad();
    at::Tensor to = tensor.detach().to(device, type);
    if (to.is_same(tensor) || to.is_alias_of(tensor)) return;
    tensor = to.requires_grad_(trains);
  };
  Visitor visitor;
  visitor.parameter = [&](const std::string&, Parameter& parameter) {
    if (!parameter.value.defined()) return;
    moved(parameter.value,
          dtype == at::ScalarType::Undefined ? parameter.value.scalar_type() : dtype);
  };
  visitor.buffer = [&](const std::string&, Buffer& buffer) {
    if (buffer.value.defined()) moved(buffer.value, buffer.value.scalar_type());
  };
  visitor.linear = [&](const std::string&, Linear& linear) {
    if (!linear.lora) return;
    moved(linear.lora->a, linear.lora->a.scalar_type());
    moved(linear.lora->b, linear.lora->b.scalar_type());
  };
  module.walk(visitor);
}

at::Device device_of(const Module& module) {
  std::optional<at::Device> device;
  each_parameter(module, [&](const std::string&, const Parameter& parameter) {
    if (!device && parameter.value.defined()) device = parameter.value.device();
  });
  return device.value_or(at::Device(at::kCPU));
}

void set_training(Module& module, bool training) {
  each_linear(module, [&](const std::string&, Linear& linear) { linear.training = training; });
}

void set_recompute(Module& module, bool on) {
  each_layer(module, [&](const std::string&, Layer& layer) { layer.recompute = on; });
}

}  // namespace parapet::nn

#include "parapet/methods/clip_filter/head_net.h"

#include <ATen/ATen.h>

#include <cmath>

#include "parapet/core/random.h"

namespace parapet {
namespace {

int64_t input_width(HeadInput input, int64_t dim) {
  return input == HeadInput::kJoint ? 4 * dim : dim;
}

at::Tensor random_matrix(int64_t rows, int64_t columns, uint64_t seed, const std::string& name) {
  at::Tensor tensor = at::empty({rows, columns}, at::kFloat);
  Random random = Random::named(seed, "guard.heads." + name);
  const double deviation = 1.0 / std::sqrt(static_cast<double>(columns));
  float* data = tensor.data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i)
    data[i] = static_cast<float>(random.normal() * deviation);
  return tensor;
}

void visit_tensor(const std::string& name, at::Tensor& tensor, const nn::ParameterVisitor& visit) {
  nn::Parameter parameter{tensor, tensor.sizes().vec()};
  visit(name, parameter);
  tensor = parameter.value;
}

}  // namespace

std::string_view head_input_name(HeadInput input) {
  static constexpr std::array<std::string_view, 3> kNames = {"image", "text", "joint"};
  return kNames[static_cast<size_t>(input)];
}

at::Tensor head_features(HeadInput input, const at::Tensor& image, const at::Tensor& text) {
  const auto d = static_cast<double>((image.defined() ? image : text).size(1));
  const double root = std::sqrt(d);
  switch (input) {
    case HeadInput::kImage:
      return image * root;
    case HeadInput::kText:
      return text * root;
    case HeadInput::kJoint:
      break;
  }
  return at::cat({image * root, text * root, image * text * d, (image - text).abs() * root}, 1);
}

at::Tensor HeadLayers::hidden(const at::Tensor& features) const {
  return fc1_weight.defined() ? at::gelu(at::linear(features, fc1_weight, fc1_bias)) : features;
}

at::Tensor HeadLayers::output(const at::Tensor& hidden) const {
  return at::linear(hidden, fc2_weight, fc2_bias);
}

HeadNet HeadNet::random(int64_t dim, int64_t hidden, int64_t categories, uint64_t seed) {
  HeadNet net;
  net.dim = dim;
  net.hidden = hidden;
  net.categories = categories;
  net.cosine_gain = at::full({1}, -20.0, at::kFloat);
  for (const HeadInput input : kHeadInputs) {
    const auto index = static_cast<size_t>(input);
    const std::string name(head_input_name(input));
    const int64_t in = input_width(input, dim);
    const int64_t outputs = categories + 1 + (input == HeadInput::kJoint ? 1 : 0);
    HeadLayers& head = net.heads[index];
    if (hidden > 0) {
      head.fc1_weight = random_matrix(hidden, in, seed, name + ".fc1");
      head.fc1_bias = at::zeros({hidden}, at::kFloat);
    }
    head.fc2_weight = random_matrix(outputs, hidden > 0 ? hidden : in, seed, name + ".fc2") * 0.1;
    head.fc2_bias = at::zeros({outputs}, at::kFloat);
  }
  return net;
}

HeadLogits HeadNet::forward(const at::Tensor& image, const at::Tensor& text) const {
  HeadLogits out;
  for (const HeadInput input : kHeadInputs) {
    const bool needs_image = input != HeadInput::kText, needs_text = input != HeadInput::kImage;
    if ((needs_image && !image.defined()) || (needs_text && !text.defined())) continue;
    const auto index = static_cast<size_t>(input);
    out.hidden[index] = heads[index].hidden(head_features(input, image, text));
    const at::Tensor logits = heads[index].output(out.hidden[index]);
    out.harm[index] = logits.slice(1, 0, categories + 1);
    if (input != HeadInput::kJoint) continue;
    const at::Tensor cosine = (image * text).sum(1);
    out.contradiction = logits.select(1, categories + 1) + cosine_gain * cosine;
  }
  return out;
}

void HeadNet::visit(const nn::ParameterVisitor& visitor) {
  for (const HeadInput input : kHeadInputs) {
    const std::string prefix(head_input_name(input));
    HeadLayers& head = heads[static_cast<size_t>(input)];
    if (head.fc1_weight.defined()) {
      visit_tensor(prefix + ".fc1.weight", head.fc1_weight, visitor);
      visit_tensor(prefix + ".fc1.bias", head.fc1_bias, visitor);
    }
    visit_tensor(prefix + ".fc2.weight", head.fc2_weight, visitor);
    visit_tensor(prefix + ".fc2.bias", head.fc2_bias, visitor);
  }
  visit_tensor("contradiction.cosine_gain", cosine_gain, visitor);
}

HeadNet HeadNet::on(at::Device device) const {
  HeadNet moved = *this;
  moved.visit([&](const std::string&, nn::Parameter& p) { p.value = p.value.detach().to(device); });
  return moved;
}

}  // namespace parapet

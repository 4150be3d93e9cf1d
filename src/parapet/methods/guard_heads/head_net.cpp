#include "parapet/methods/guard_heads/head_net.h"

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

HeadLayers random_layers(int64_t in, int64_t hidden, int64_t outputs, uint64_t seed,
                         const std::string& name) {
  HeadLayers head;
  if (hidden > 0) {
    head.fc1_weight = random_matrix(hidden, in, seed, name + ".fc1");
    head.fc1_bias = at::zeros({hidden}, at::kFloat);
  }
  head.fc2_weight = random_matrix(outputs, hidden > 0 ? hidden : in, seed, name + ".fc2") * 0.1;
  head.fc2_bias = at::zeros({outputs}, at::kFloat);
  return head;
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
  return linear() ? features : at::gelu(at::linear(features, fc1_weight, fc1_bias));
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
  net.side_gain = at::ones({2}, at::kFloat);
  for (const HeadInput input : kHeadInputs)
    net.heads[static_cast<size_t>(input)] = random_layers(
        input_width(input, dim), hidden, categories + (input == HeadInput::kJoint ? 2 : 1), seed,
        std::string(head_input_name(input)));
  net.implicit =
      random_layers(input_width(HeadInput::kJoint, dim), hidden, categories + 1, seed, "implicit");
  return net;
}

HeadLogits HeadNet::forward(const at::Tensor& image, const at::Tensor& text, double dropout) const {
  HeadLogits out;
  const auto apply = [&](const HeadLayers& head, size_t slot, const at::Tensor& features) {
    out.hidden[slot] = head.hidden(features);
    const bool drops = dropout > 0 && !head.linear();
    return head.output(drops ? at::dropout(out.hidden[slot], dropout, true) : out.hidden[slot]);
  };
  if (image.defined())
    out.harm[0] = apply(heads[0], 0, head_features(HeadInput::kImage, image, text));
  if (text.defined())
    out.harm[1] = apply(heads[1], 1, head_features(HeadInput::kText, image, text));
  if (!image.defined() || !text.defined()) return out;
  const at::Tensor features = head_features(HeadInput::kJoint, image, text);
  const at::Tensor joint = apply(heads[2], 2, features);
  const at::Tensor either_side = at::logaddexp(side_gain.select(0, 0) * out.harm[0].detach(),
                                               side_gain.select(0, 1) * out.harm[1].detach());
  out.explicit_pair = joint.slice(1, 0, categories + 1) + either_side;
  out.implicit_pair = apply(implicit, 3, features);
  out.harm[2] = at::logaddexp(out.explicit_pair, out.implicit_pair);
  out.contradiction = with_cosine(joint.select(1, categories + 1), image, text);
  return out;
}

at::Tensor HeadNet::with_cosine(const at::Tensor& output, const at::Tensor& image,
                                const at::Tensor& text) const {
  return output + cosine_gain * (image * text).sum(1);
}

at::Tensor HeadNet::contradiction(const at::Tensor& image, const at::Tensor& text) const {
  const HeadLayers& joint = heads[static_cast<size_t>(HeadInput::kJoint)];
  const at::Tensor hidden = joint.hidden(head_features(HeadInput::kJoint, image, text));
  const at::Tensor logit = at::linear(hidden, joint.fc2_weight.narrow(0, categories + 1, 1),
                                      joint.fc2_bias.narrow(0, categories + 1, 1));
  return with_cosine(logit.squeeze(1), image, text);
}

HeadNet HeadNet::on(at::Device device) const {
  HeadNet moved = *this;
  nn::each_parameter(
      moved, [&](const std::string&, nn::Parameter& p) { p.value = p.value.detach().to(device); });
  return moved;
}

}  // namespace parapet

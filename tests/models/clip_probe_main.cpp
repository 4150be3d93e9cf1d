// Runs a CLIP folder on given inputs and writes everything that can be compared with
// `transformers` and `peft`: embeddings, hidden states, gradients. Driven by
// tests/conformance/clip_probe.py; see run() for the flags.
#include <ATen/ATen.h>

#include "../support/probe_flags.h"
#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/formats/safetensors.h"
#include "parapet/models/clip/clip.h"
#include "parapet/nn/checkpoint.h"
#include "parapet/nn/device.h"
#include "parapet/nn/lora.h"
#include "parapet/nn/lora_off.h"

namespace parapet {
namespace {

using test::Flags;
using test::float_type;

at::Tensor normalised(const at::Tensor& x) { return x / x.norm(2, {1}, true); }

// The symmetric cross-entropy of CLIPModel(..., return_loss=True), in float32.
at::Tensor contrastive_loss(ClipModel& model, const at::Tensor& text, const at::Tensor& image) {
  const at::Tensor logits =
      at::mm(normalised(text.to(at::kFloat)), normalised(image.to(at::kFloat)).t()) *
      model.logit_scale().value.exp();
  const at::Tensor labels = at::arange(logits.size(0), logits.options().dtype(at::kLong));
  return (at::cross_entropy_loss(logits, labels) + at::cross_entropy_loss(logits.t(), labels)) / 2;
}

void add_hidden(nn::NamedTensors& out, const std::string& tower, const ClipHidden& hidden) {
  for (size_t i = 0; i < hidden.hidden_states.size(); ++i)
    out.emplace_back(tower + ".hidden_states." + std::to_string(i), hidden.hidden_states[i]);
  out.emplace_back(tower + ".last_hidden_state", hidden.last_hidden_state);
  out.emplace_back(tower + ".pooler_output", hidden.pooler_output);
}

void forward(const ClipModel& model, const at::Tensor& ids, const at::Tensor& pixels,
             nn::NamedTensors& out) {
  at::NoGradGuard no_grad;
  if (ids.defined()) {
    out.emplace_back("text.embeds", model.encode_text(ids));
    add_hidden(out, "text", model.text_model().hidden(ids, model.compute()));
  }
  if (pixels.defined()) {
    out.emplace_back("image.embeds", model.encode_image(pixels));
    add_hidden(out, "image", model.vision_model().hidden(pixels.to(model.compute())));
  }
}

// What receives gradients: every weight, or the adapters alone.
nn::NamedTensors trainables(ClipModel& model, const std::string& which) {
  nn::NamedTensors list =
      which == "lora" ? nn::lora_parameters(model) : nn::named_parameters(model);
  for (auto& [name, tensor] : list) tensor.requires_grad_(true);
  return list;
}

void backward(ClipModel& model, const at::Tensor& ids, const at::Tensor& pixels,
              const std::string& which, nn::NamedTensors& out) {
  const nn::NamedTensors list = trainables(model, which);
  at::Tensor leaf = pixels.clone().requires_grad_(true);
  const at::Tensor loss = contrastive_loss(model, model.encode_text(ids), model.encode_image(leaf));
  loss.backward();
  out.emplace_back("loss", loss);
  out.emplace_back("grad.pixel_values", leaf.grad());
  for (const auto& [name, tensor] : list)
    if (tensor.grad().defined()) out.emplace_back("grad." + name, tensor.grad());
}

// A new adapter with a B that is not zero, so that it shows.
nn::LoraOptions new_adapter(ClipModel& model, const Flags& flags) {
  nn::LoraOptions options;
  options.targets = split(flags.get("add-lora"), ',');
  options.r = std::stol(flags.get("lora-r", "4"));
  options.alpha = std::stod(flags.get("lora-alpha", "8"));
  options.rslora = flags.has("rslora");
  nn::add_lora(model, options, 7);
  at::manual_seed(11);
  at::NoGradGuard no_grad;
  for (auto& [name, tensor] : nn::lora_parameters(model))
    if (name.ends_with("lora_B.weight")) tensor.normal_(0.0, 0.05);
  return options;
}

int run(const Flags& flags) {
  const at::Device device = nn::require_device(flags.get("device", "cpu"));
  ClipModel model =
      ClipModel::load(flags.get("model"), device, float_type(flags.get("weights", "fp32")));
  model.set_compute(float_type(flags.get("dtype", "fp32")));
  if (flags.has("adapter")) nn::load_lora(model, flags.get("adapter"));
  if (flags.has("add-lora")) {
    const nn::LoraOptions options = new_adapter(model, flags);
    nn::save_lora(model, options, flags.get("save-adapter"), {.model = flags.get("model")});
  }
  if (flags.has("merge")) nn::merge_lora(model);
  if (flags.has("save")) {
    SaveModelOptions options;
    if (flags.has("shard-bytes")) options.max_shard_bytes = std::stol(flags.get("shard-bytes"));
    model.save(flags.get("save"), flags.get("model"), options);
  }
  if (!flags.has("out")) return 0;

  const TensorArchive inputs = TensorArchive::open(flags.get("inputs"));
  auto input = [&](const char* name) {
    const TensorView* view = inputs.find(name);
    return view == nullptr ? at::Tensor() : nn::to_tensor(*view).to(device);
  };
  const at::Tensor ids = input("input_ids"), pixels = input("pixel_values");
  nn::NamedTensors out;
  if (flags.has("lora-off")) {
    const nn::LoraOff off;
    forward(model, ids, pixels, out);
  } else {
    forward(model, ids, pixels, out);
  }
  if (flags.has("grads")) backward(model, ids, pixels, flags.get("grads"), out);
  for (auto& [name, tensor] : out) tensor = tensor.detach().to(at::kFloat);
  nn::save_tensors(flags.get("out"), out);
  return 0;
}

}  // namespace
}  // namespace parapet

int main(int argc, char** argv) { return parapet::test::run_program(argc, argv, parapet::run); }

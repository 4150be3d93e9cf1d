// Runs a LLaVA folder on given inputs and writes everything that can be compared with
// `transformers`: logits, hidden states, loss, gradients of weights and of each input. Driven by
// tests/conformance/test_llava.py; see run() for the flags.
#include <ATen/ATen.h>

#include "../support/probe_flags.h"
#include "parapet/core/error.h"
#include "parapet/formats/safetensors.h"
#include "parapet/models/llava/llava.h"
#include "parapet/nn/checkpoint.h"
#include "parapet/nn/module_state.h"

namespace parapet {
namespace {

using test::Flags;
using test::float_type;

struct Inputs {
  LlavaInput model;
  at::Tensor labels;
};

Inputs read_inputs(const std::filesystem::path& file) {
  const TensorArchive archive = TensorArchive::open(file);
  auto input = [&](const char* name) {
    const TensorView* view = archive.find(name);
    return view == nullptr ? at::Tensor() : nn::to_tensor(*view).clone();
  };
  Inputs inputs;
  inputs.model.ids = input("input_ids");
  inputs.model.pixels = input("pixel_values");
  inputs.model.mask.starts = input("starts");
  inputs.labels = input("labels");
  return inputs;
}

void forward(const LlavaModel& model, const LlavaInput& input, nn::NamedTensors& out) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> states;
  out.emplace_back("logits", model.logits(model.hidden(input, &states)));
  for (size_t i = 0; i < states.size(); ++i)
    out.emplace_back("hidden_states." + std::to_string(i), states[i]);
  if (input.pixels.defined())
    out.emplace_back("image_features", model.project(model.tower_states(input.pixels)));
}

// With respect to pixels; and again from the tower's states, which must give the same loss.
void backward(LlavaModel& model, Inputs inputs, nn::NamedTensors& out) {
  nn::set_requires_grad(model, true);
  inputs.model.pixels.requires_grad_(true);
  const at::Tensor loss = model.loss(inputs.model, inputs.labels).mean();
  loss.backward();
  out.emplace_back("loss", loss);
  out.emplace_back("grad.pixel_values", inputs.model.pixels.grad());
  for (const auto& [name, tensor] : nn::named_parameters(model))
    if (tensor.grad().defined()) out.emplace_back("grad." + name, tensor.grad().clone());
  LlavaInput stored = inputs.model;
  stored.states = model.tower_states(inputs.model.pixels.detach()).detach().requires_grad_(true);
  stored.pixels = at::Tensor();
  const at::Tensor again = model.loss(stored, inputs.labels).mean();
  again.backward();
  out.emplace_back("loss_from_states", again);
  out.emplace_back("grad.states", stored.states.grad());
}

// The most likely next token, `count` times, pictures read once into the cache.
void greedy(const LlavaModel& model, LlavaInput input, int64_t count, nn::NamedTensors& out) {
  const at::NoGradGuard no_grad;
  nn::KvCache cache = model.make_cache();
  input.cache = &cache;
  at::Tensor all = input.ids;
  for (int64_t i = 0; i < count; ++i) {
    const at::Tensor next = model.logits(model.hidden(input).slice(1, -1)).argmax(2);
    all = at::cat({all, next}, 1);
    input.ids = next;
    input.pixels = at::Tensor();
  }
  out.emplace_back("greedy.ids", all.to(at::kFloat));
}

int run(const Flags& flags) {
  LlavaModel model = LlavaModel::load(flags.get("model"), {});
  model.set_compute(float_type(flags.get("dtype", "fp32")));
  model.set_recompute(flags.has("recompute"));
  if (flags.has("save")) model.save(flags.get("save"), flags.get("model"));
  if (!flags.has("out")) return 0;
  const Inputs inputs = read_inputs(flags.get("inputs"));
  nn::NamedTensors out;
  forward(model, inputs.model, out);
  if (flags.has("greedy")) greedy(model, inputs.model, std::stol(flags.get("greedy")), out);
  if (flags.has("grads")) backward(model, inputs, out);
  for (auto& [name, tensor] : out) tensor = tensor.detach().to(at::kFloat);
  nn::save_tensors(flags.get("out"), out);
  return 0;
}

}  // namespace
}  // namespace parapet

int main(int argc, char** argv) { return parapet::test::run_program(argc, argv, parapet::run); }

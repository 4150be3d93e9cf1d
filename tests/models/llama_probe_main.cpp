// Runs a Llama folder on given inputs and writes everything that can be compared with
// `transformers`: logits, hidden states, loss, gradients, greedy tokens. Driven by
// tests/conformance/llama_probe.py; see run() for the flags.
#include <ATen/ATen.h>

#include "../support/probe_flags.h"
#include "parapet/formats/safetensors.h"
#include "parapet/models/llama/llama.h"
#include "parapet/nn/checkpoint.h"
#include "parapet/nn/module_state.h"

namespace parapet {
namespace {

using test::Flags;
using test::float_type;

struct Inputs {
  LlamaInput model;
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
  inputs.model.embeds = input("inputs_embeds");
  inputs.model.positions = input("position_ids");
  inputs.model.mask.starts = input("starts");
  inputs.model.mask.lengths = input("lengths");
  inputs.model.mask.segments = input("segments");
  inputs.labels = input("labels");
  return inputs;
}

void forward(const LlamaModel& model, const LlamaInput& input, nn::NamedTensors& out) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> states;
  out.emplace_back("logits", model.logits(model.hidden(input, &states)));
  for (size_t i = 0; i < states.size(); ++i)
    out.emplace_back("hidden_states." + std::to_string(i), states[i]);
}

void backward(LlamaModel& model, Inputs inputs, nn::NamedTensors& out) {
  nn::set_requires_grad(model, true);
  if (inputs.model.embeds.defined()) inputs.model.embeds.requires_grad_(true);
  const at::Tensor loss = model.loss(inputs.model, inputs.labels).mean();
  loss.backward();
  out.emplace_back("loss", loss);
  for (const auto& [name, tensor] : nn::named_parameters(model))
    if (tensor.grad().defined()) out.emplace_back("grad." + name, tensor.grad());
  if (inputs.model.embeds.defined())
    out.emplace_back("grad.inputs_embeds", inputs.model.embeds.grad());
}

// The most likely next token, `count` times: with a cache, and with all computed anew each time.
void greedy(const LlamaModel& model, const LlamaInput& input, int64_t count,
            nn::NamedTensors& out) {
  const at::NoGradGuard no_grad;
  auto next = [&](const LlamaInput& now) { return model.logits(model.hidden(now).slice(1, -1)); };
  nn::KvCache cache = model.make_cache();
  LlamaInput cached = input, whole = input;
  cached.cache = &cache;
  std::vector<at::Tensor> cached_logits, whole_logits;
  for (int64_t i = 0; i < count; ++i) {
    cached_logits.push_back(next(cached));
    whole_logits.push_back(next(whole));
    cached.ids = cached_logits.back().argmax(2);
    whole.ids = at::cat({whole.ids, whole_logits.back().argmax(2)}, 1);
  }
  out.emplace_back("greedy.ids", whole.ids.to(at::kFloat));
  out.emplace_back("greedy.cached", at::cat(cached_logits, 1));
  out.emplace_back("greedy.whole", at::cat(whole_logits, 1));
}

int run(const Flags& flags) {
  LoadModelOptions options;
  options.dtype = float_type(flags.get("weights", "fp32"));
  LlamaModel model = LlamaModel::load(flags.get("model"), options);
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

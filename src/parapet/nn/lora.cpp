#include "parapet/nn/lora.h"

#include <ATen/ATen.h>

#include <cmath>

#include "parapet/core/error.h"
#include "parapet/core/random.h"
#include "parapet/core/strings.h"

namespace parapet::nn {
namespace {

// PEFT: a target matches the full path or a dotted suffix of it.
bool matches(const std::string& path, const std::string& target) {
  if (path == target) return true;
  return path.size() > target.size() + 1 && path.ends_with(target) &&
         path[path.size() - target.size() - 1] == '.';
}

// Uniform in +-1/sqrt(in): Kaiming with a = sqrt(5), what nn.Linear and PEFT start A from.
at::Tensor initial_a(int64_t r, int64_t in, Random& random) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  at::Tensor a = at::empty({r, in}, at::kFloat);
  float* data = a.data_ptr<float>();
  for (int64_t i = 0; i < r * in; ++i)
    data[i] = static_cast<float>((random.uniform() * 2 - 1) * bound);
  return a;
}

}  // namespace

void LoraOptions::visit(OptionList& list) {
  list.add("lora-r", r, "LoRA rank");
  list.add("lora-alpha", alpha, "LoRA alpha; the update is scaled by alpha / r");
  list.add("lora-dropout", dropout, "dropout on the adapter's input while training, in [0, 1)");
  list.add("lora-rslora", rslora, "scale by alpha / sqrt(r) instead");
  list.add("lora-targets", targets,
           "module names to adapt, as in PEFT's target_modules; empty = those usual for the model");
}

void LoraOptions::validate(Problems& problems) const {
  problems.require(r >= 1 && r <= 4096, "--lora-r", "must be in 1..4096");
  problems.require(std::isfinite(alpha) && alpha > 0, "--lora-alpha", "must be > 0");
  problems.require(dropout >= 0 && dropout < 1, "--lora-dropout", "must be in [0, 1)");
}

double LoraOptions::scale() const {
  const auto rank = static_cast<double>(r);
  return alpha / (rslora ? std::sqrt(rank) : rank);
}

std::vector<std::string> add_lora(Module& module, const LoraOptions& options, uint64_t seed) {
  if (options.targets.empty()) throw Error(ErrorKind::kInternal, "add_lora: no targets");
  std::vector<std::string> adapted, known;
  std::vector<bool> used(options.targets.size(), false);
  each_linear(module, [&](const std::string& path, Linear& linear) {
    const auto parts = split(path, '.');
    if (std::find(known.begin(), known.end(), parts.back()) == known.end())
      known.push_back(parts.back());
    bool wanted = false;
    for (size_t i = 0; i < options.targets.size(); ++i)
      if (matches(path, options.targets[i])) wanted = used[i] = true;
    if (!wanted) return;
    Random random = Random::named(seed, "lora." + path);
    const auto device = linear.weight().value.device();
    auto lora = std::make_unique<LoraAdapter>();
    lora->a = initial_a(options.r, linear.in_features(), random).to(device).requires_grad_(true);
    lora->b = at::zeros({linear.out_features(), options.r}, at::kFloat).to(device);
    lora->b.requires_grad_(true);
    lora->scale = options.scale();
    lora->dropout = options.dropout;
    linear.lora = std::move(lora);
    adapted.push_back(path);
  });
  for (size_t i = 0; i < options.targets.size(); ++i)
    if (!used[i])
      throw UsageError("--lora-targets: '" + options.targets[i] +
                       "' matches no layer of this model; it has " + join(known, ", "));
  return adapted;
}

NamedTensors lora_parameters(const Module& module) {
  NamedTensors tensors;
  each_linear(module, [&](const std::string& path, const Linear& linear) {
    if (!linear.lora) return;
    tensors.emplace_back(path + ".lora_A.weight", linear.lora->a);
    tensors.emplace_back(path + ".lora_B.weight", linear.lora->b);
  });
  return tensors;
}

at::Tensor merged_weight(const Linear& linear) {
  const at::NoGradGuard no_grad;
  const Parameter& weight = linear.weight();
  const LoraAdapter& lora = *linear.lora;
  const at::Tensor sum = at::addmm(linear.matrix().to(at::kFloat), lora.b, lora.a, 1.0, lora.scale);
  return sum.to(weight.value.scalar_type()).view(weight.shape);
}

void merge_lora(Module& module) {
  each_linear(module, [&](const std::string&, Linear& linear) {
    if (!linear.lora) return;
    linear.weight().value = merged_weight(linear);
    linear.lora.reset();
  });
}

}  // namespace parapet::nn

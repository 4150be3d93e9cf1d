#include "parapet/methods/guard_heads/unfreeze.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace parapet {
namespace {

// Number of the encoder layer in a parameter's name, -1 when it is in none.
int64_t layer_of(const std::string& name) {
  const std::string marker = "encoder.layers.";
  const size_t at = name.find(marker);
  return at == std::string::npos ? -1 : std::stoll(name.substr(at + marker.size()));
}

bool above_layers(const std::string& name) {
  return name.find("post_layernorm") != std::string::npos ||
         name.find("final_layer_norm") != std::string::npos ||
         name.find("_projection.") != std::string::npos;
}

}  // namespace

std::vector<TrunkParameter> unfreeze_plan(ClipModel& model, const UnfreezeOptions& options) {
  std::vector<TrunkParameter> plan;
  if (options.share <= 0) return plan;
  const ClipConfig& config = model.config();
  nn::each_parameter(model, [&](const std::string& name, nn::Parameter& parameter) {
    const bool text = name.starts_with("text_");
    const int64_t layers = text ? config.text.num_hidden_layers : config.vision.num_hidden_layers;
    const int64_t open =
        std::clamp<int64_t>(std::llround(options.share * static_cast<double>(layers)), 1, layers);
    const int64_t layer = layer_of(name);
    if (layer < 0 && !above_layers(name)) return;
    const int64_t depth = layer < 0 ? 0 : layers - 1 - layer;
    if (depth >= open) return;
    const double lr = options.trunk_lr * std::pow(options.layer_decay, static_cast<double>(depth));
    plan.push_back({name, parameter.value, depth, depth * options.stages / open, lr});
  });
  return plan;
}

void apply_unfreezing(std::vector<TrunkParameter>& plan, int64_t epoch) {
  for (TrunkParameter& parameter : plan) {
    const bool active = parameter.stage <= epoch;
    if (parameter.tensor.requires_grad() != active) parameter.tensor.requires_grad_(active);
  }
}

}  // namespace parapet

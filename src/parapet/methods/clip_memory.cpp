#include "parapet/methods/clip_memory.h"

#include <algorithm>
#include <cmath>

namespace parapet {
namespace {

bool recomputes(const ClipModel& model) {
  bool on = false;
  nn::each_layer(model, [&](const std::string&, const nn::Layer& layer) { on |= layer.recompute; });
  return on;
}

}  // namespace

MemoryNeed clip_memory(const ClipModel& model, const ClipStep& step) {
  const ClipConfig& config = model.config();
  const int64_t context = config.text.max_position_embeddings;
  const int64_t tokens = step.tokens > 0 ? std::min(step.tokens, context) : context;
  const auto rows = [](double samples, int64_t each) {
    return static_cast<int64_t>(std::ceil(samples * static_cast<double>(each)));
  };
  TrainingShape shape;
  shape.batch = step.batch;
  shape.compute = model.compute();
  shape.rows = {{"vision_model", rows(step.images, config.vision.patches() + 1)},
                {"text_model", rows(step.texts, tokens)},
                {"visual_projection", rows(step.images, 1)},
                {"text_projection", rows(step.texts, 1)}};
  // A tower's last layer computes the pooled row alone, from keys and values of all.
  const auto pooled = [&](const std::string& tower, int64_t layers, double samples) {
    const std::string last = tower + ".encoder.layers." + std::to_string(layers - 1);
    for (const char* part : {".mlp", ".self_attn.q_proj", ".self_attn.out_proj"})
      shape.rows.push_back({last + part, rows(samples, 1)});
  };
  pooled("vision_model", config.vision.num_hidden_layers, step.images);
  pooled("text_model", config.text.num_hidden_layers, step.texts);
  MemoryNeed need;
  need.memory = estimate_training_memory(model, shape);
  if (step.batch > 2)
    need.remedies.push_back("a smaller --batch-size (" + std::to_string(step.batch) +
                            " now), with a larger --accumulate");
  if (!recomputes(model)) need.remedies.push_back("--gradient-checkpointing");
  if (!step.lighter_mode.empty()) need.remedies.push_back(step.lighter_mode);
  return need;
}

}  // namespace parapet

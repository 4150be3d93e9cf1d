// What a training step will take, told before the first one.
#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <vector>

#include "parapet/nn/module.h"

namespace parapet {

// Rows that pass through the layers under `prefix` per sample: tokens of a text, patches of an
// image. Paths under no prefix see one row per sample (projections of pooled states).
struct RowsPerSample {
  std::string prefix;  // "vision_model", "text_model"; empty = the whole model
  int64_t rows = 1;    // 0 = this part takes no part in training
};

struct TrainingShape {
  int64_t batch = 1;  // samples of a micro-batch in one process
  std::vector<RowsPerSample> rows;
  c10::ScalarType compute = c10::ScalarType::Float;
};

struct TrainingMemory {
  int64_t parameters = 0;   // weights, adapters and buffers as they are kept
  int64_t gradients = 0;    // float32, of what trains
  int64_t optimizer = 0;    // two float32 moments; weights of other types also have a master copy
  int64_t activations = 0;  // kept between the forward and the backward pass
  int64_t total() const { return parameters + gradients + optimizer + activations; }
};

// For the model as it stands: what requires gradients trains (all weights, or adapters alone),
// layers set to be recomputed keep their input only. The first three parts are exact. Activations
// are an estimate, for an attention that keeps no matrix of scores: what every linear layer reads
// and writes from the first one on that a gradient reaches, which in each of the model's parts
// ("vision_model") is the first that trains; within a quarter of what CLIP takes.
TrainingMemory estimate_training_memory(const nn::Module& module, const TrainingShape& shape);

}  // namespace parapet

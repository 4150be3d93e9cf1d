// What a method gives the training loop: parameters, a loss per micro-batch, validation, and what
// must be saved beside the weights. The loop owns optimiser, schedule, accumulation, clipping,
// checkpoints, early stopping and metrics.
#pragma once
#include <ATen/core/Tensor.h>
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace parapet {

class Communicator;

// A trainable leaf tensor (float32, requires_grad) under its checkpoint name.
struct TrainableParameter {
  std::string name;
  at::Tensor tensor;
  double lr_scale = 1.0;      // multiplies the schedule's learning rate
  bool weight_decay = false;  // matrices usually yes; biases, norms and scales no
};

struct LossTerm {
  std::string name;
  double value = 0;  // unweighted
};

struct StepLoss {
  at::Tensor total;             // scalar, differentiable, already weighted
  std::vector<LossTerm> terms;  // shown and logged; mean over micro-batches and ranks
  int64_t samples = 0;          // of this micro-batch on this rank, for throughput
};

// Where in the run a micro-batch lies.
struct StepInfo {
  int64_t step = 0;  // optimiser step, from 0
  int64_t total_steps = 0;
  int64_t micro = 0;  // in [0, micros)
  int64_t micros = 1;
  Communicator* communicator = nullptr;  // never null in the loop; world size may be 1
};

class TrainingTask {
 public:
  virtual ~TrainingTask() = default;
  virtual std::vector<TrainableParameter> parameters() = 0;
  // Draws the next micro-batch of this rank and returns its loss (mean over the batch).
  virtual StepLoss loss(const StepInfo& info) = 0;
  // Called after each optimiser step (e.g. to clamp the logit scale).
  virtual void after_step(const StepInfo& /*info*/) {}
  // Validation metrics; must hold "loss" (lower is better) and may hold "recall" (higher is
  // better). Early stopping watches both. Empty = the task has no validation.
  virtual std::map<std::string, double> validate(const StepInfo& info) = 0;
  // Position of data and random streams; restored exactly on resume.
  virtual nlohmann::json state() const = 0;
  virtual void restore(const nlohmann::json& state) = 0;
  // Weights beside parameters(), e.g. frozen buffers that change; usually empty.
  virtual std::vector<std::pair<std::string, at::Tensor>> buffers() { return {}; }
};

}  // namespace parapet

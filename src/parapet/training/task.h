// What a method gives the training loop: parameters, where its micro-batches come from, a loss for
// each, validation, and what must be saved beside the weights. The loop owns the data's position,
// optimiser, schedule, accumulation, clipping, checkpoints, early stopping and metrics.
#pragma once
#include <ATen/core/Tensor.h>

#include <any>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "parapet/data/sources/source.h"
#include "parapet/training/memory_check.h"

namespace parapet {

class Communicator;

// A trainable leaf tensor (float32 or bfloat16, requires_grad) under its checkpoint name.
struct TrainableParameter {
  std::string name;
  at::Tensor tensor;
  double lr_scale = 1.0;      // multiplies the schedule's learning rate
  bool weight_decay = false;  // matrices usually yes; biases, norms and scales no
};

// A number to show. It stays on its device until the loop shows it.
struct LossTerm {
  std::string name;
  at::Tensor value;  // scalar, detached, unweighted
};

struct StepLoss {
  at::Tensor total;  // scalar, differentiable
  // What this micro-batch counts for: the step's gradient and numbers are the sum of weight x
  // micro-batch over all micro-batches and ranks, divided by the sum of weights. 1 for a mean over
  // equally many samples, the number of target tokens for a mean over tokens. 0 = it is left out
  // altogether, so its loss must not be the part of a collective.
  double weight = 1;
  std::vector<LossTerm> terms;  // shown and logged
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

// What validation is judged by.
struct Selection {
  std::string metric = "loss";
  bool higher_is_better = false;
};

// A micro-batch as the loop carries it from a task's source to its loss without looking inside.
using MicroBatch = std::any;

class TrainingTask {
 public:
  virtual ~TrainingTask() = default;
  virtual std::vector<TrainableParameter> parameters() = 0;
  // This rank's endless micro-batches. The loop asks once, reads ahead on a thread of its own,
  // saves the position with each checkpoint and restores it on resume, so that what is drawn may
  // depend on nothing else: torch's generators belong to loss().
  virtual SourcePtr<MicroBatch> source(const Communicator& communicator) = 0;
  virtual StepLoss loss(MicroBatch& batch, const StepInfo& info) = 0;
  // Called after each optimiser step (e.g. to clamp the logit scale).
  virtual void after_step(const StepInfo& /*info*/) {}
  // Metrics of the validation data, the same on every rank; each rank may compute its share. Must
  // hold selection().metric. Empty = the task has no validation.
  virtual std::map<std::string, double> validate(const StepInfo& info) = 0;
  virtual Selection selection() const { return {}; }
  // What training takes, asked once parameters() has said what trains; the loop tells the user
  // before the first step. Nothing = the task cannot tell.
  virtual std::optional<MemoryNeed> memory() const { return std::nullopt; }
  // Weights beside parameters(), e.g. frozen buffers that change; usually empty.
  virtual std::vector<std::pair<std::string, at::Tensor>> buffers() { return {}; }
};

// A task whose micro-batches are of one type.
template <class Batch>
class TaskOf : public TrainingTask {
 public:
  virtual SourcePtr<Batch> batches(const Communicator& communicator) = 0;
  virtual StepLoss loss(Batch& batch, const StepInfo& info) = 0;

  SourcePtr<MicroBatch> source(const Communicator& communicator) final {
    return std::make_unique<Erased>(batches(communicator));
  }
  StepLoss loss(MicroBatch& batch, const StepInfo& info) final {
    return loss(*std::any_cast<Batch>(&batch), info);
  }

 private:
  class Erased final : public Source<MicroBatch> {
   public:
    explicit Erased(SourcePtr<Batch> source) : source_(std::move(source)) {}
    bool next(MicroBatch& value) override {
      Batch batch{};
      if (!source_->next(batch)) return false;
      value = std::move(batch);
      return true;
    }
    nlohmann::json position() const override { return source_->position(); }
    void restore(const nlohmann::json& position) override { source_->restore(position); }

   private:
    SourcePtr<Batch> source_;
  };
};

}  // namespace parapet

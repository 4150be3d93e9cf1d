// One or more steps of supervised fine-tuning of a Llama folder on given token sequences through
// the training loop, saved as a Hugging Face folder. Driven by tests/conformance/test_llama.py.
#include <ATen/ATen.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "../support/probe_flags.h"
#include "parapet/formats/safetensors.h"
#include "parapet/models/llama/llama.h"
#include "parapet/nn/checkpoint.h"
#include "parapet/nn/module_state.h"
#include "parapet/training/single_process.h"
#include "parapet/training/trainer.h"

namespace parapet {
namespace {

// Rows of the one batch there is; every step sees all of them.
class SameRows final : public Source<int64_t> {
 public:
  explicit SameRows(int64_t rows) : rows_(rows) {}
  bool next(int64_t& value) override {
    value = rows_;
    return true;
  }
  nlohmann::json position() const override { return 0; }
  void restore(const nlohmann::json&) override {}

 private:
  int64_t rows_;
};

class SftTask final : public TaskOf<int64_t> {
 public:
  SftTask(LlamaModel& model, LlamaInput input, at::Tensor labels)
      : model_(model), input_(std::move(input)), labels_(std::move(labels)) {
    nn::set_requires_grad(model, true);
  }
  std::vector<TrainableParameter> parameters() override {
    std::vector<TrainableParameter> list;
    for (const auto& [name, tensor] : nn::named_parameters(model_))
      list.push_back({name, tensor, 1.0, tensor.dim() > 1});
    return list;
  }
  SourcePtr<int64_t> batches(const Communicator&) override {
    return std::make_unique<SameRows>(labels_.size(0));
  }
  // Weighted by its target tokens, as a mean over tokens must be.
  StepLoss loss(int64_t& rows, const StepInfo&) override {
    const nn::TokenLoss loss = model_.loss(input_, labels_);
    StepLoss step;
    step.total = loss.mean();
    step.weight = static_cast<double>(loss.tokens);
    step.samples = rows;
    return step;
  }
  std::map<std::string, double> validate(const StepInfo&) override { return {}; }

 private:
  LlamaModel& model_;
  LlamaInput input_;
  at::Tensor labels_;
};

int run(const test::Flags& flags) {
  LlamaModel model = LlamaModel::load(flags.get("model"));
  model.set_recompute(flags.has("recompute"));
  const TensorArchive archive = TensorArchive::open(flags.get("inputs"));
  LlamaInput input;
  input.ids = nn::to_tensor(*archive.find("input_ids")).clone();
  SftTask task(model, input, nn::to_tensor(*archive.find("labels")).clone());
  TrainerOptions options;
  options.max_steps = std::stol(flags.get("steps"));
  options.lr = std::stod(flags.get("lr"));
  options.eps = std::stod(flags.get("eps"));
  options.weight_decay = std::stod(flags.get("weight-decay"));
  options.clip_norm = 0;
  options.schedule = "constant";
  SingleProcess world;
  train(task, options, flags.get("run"), world, {});
  model.save(flags.get("save"), flags.get("model"));
  return 0;
}

}  // namespace
}  // namespace parapet

int main(int argc, char** argv) { return parapet::test::run_program(argc, argv, parapet::run); }

// Training guard heads, with or without the top of the towers beneath them.
#pragma once
#include <memory>

#include "parapet/methods/guard_heads/filter_inputs.h"
#include "parapet/methods/guard_heads/filter_loss.h"
#include "parapet/methods/guard_heads/unfreeze.h"
#include "parapet/training/task.h"

namespace parapet {

// Everything is referred to and must outlive the task.
struct FilterTaskInputs {
  const FilterInputs* train = nullptr;
  const FilterEmbeddings* train_embeds = nullptr;  // of the untouched model
  const FilterInputs* val = nullptr;               // may hold no samples
  const FilterEmbeddings* val_embeds = nullptr;
  ClipModel* model = nullptr;  // finetune: trained in part
  const ClipAssets* assets = nullptr;
  int64_t steps_per_epoch = 1;
  double base_lr = 1e-3;  // the trainer's, that trunk rates are shares of
  uint64_t seed = 0;
  int64_t rank = 0, world_size = 1;
};

class FilterTask final : public TrainingTask {
 public:
  FilterTask(HeadNet& net, const FilterOptions& options, const FilterTaskInputs& inputs);

  std::vector<TrainableParameter> parameters() override;
  StepLoss loss(const StepInfo& info) override;
  std::map<std::string, double> validate(const StepInfo& info) override;
  nlohmann::json state() const override;
  void restore(const nlohmann::json& state) override;

  // Logits of a whole set without changes or dropout; chunks of 256.
  HeadLogits logits_of(const FilterInputs& inputs, const FilterEmbeddings& embeds,
                       at::Tensor* cosines = nullptr);

 private:
  struct Batch {
    std::vector<int64_t> rows;
    FilterTargets targets;
    at::Tensor image, text;                    // unit embeddings
    at::Tensor pixels;                         // finetune
    at::Tensor original_image, original_text;  // of the untouched model and samples
    bool changed = false;                      // augmented
  };
  Batch draw();
  Batch draw_cached(std::vector<int64_t> rows, int64_t index) const;
  Batch draw_encoded(std::vector<int64_t> rows, int64_t index);
  at::Tensor encode_pixels(const at::Tensor& pixels);
  at::Tensor contradiction_loss(const Batch& batch, const HeadLogits& logits);
  at::Tensor adversarial_loss(const Batch& batch);
  at::Tensor opponent_loss(const HeadLogits& logits, const FilterTargets& targets);
  at::Tensor keep_contrastive(const Batch& batch);
  at::Tensor keep_original(const Batch& batch);
  bool finetunes() const { return options_.mode == "finetune"; }

  HeadNet& net_;
  FilterOptions options_;
  FilterTaskInputs in_;
  FilterLoss criterion_;
  std::vector<TrunkParameter> trunk_;
  at::Device device_;
  bool knows_matches_;  // some training pairs are known to match
  double logit_scale_ = 1;
  at::Tensor opponent_weight_, opponent_bias_;  // guesses the group from all hidden units
  int64_t position_ = 0;
};

}  // namespace parapet

// Training guard heads, with or without the top of the towers beneath them.
#pragma once
#include <memory>

#include "parapet/methods/guard_heads/filter_inputs.h"
#include "parapet/methods/guard_heads/filter_loss.h"
#include "parapet/methods/guard_heads/unfreeze.h"
#include "parapet/nn/staging.h"
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
};

// What a source makes of a batch's rows without the model, on its way to the model's device.
struct FilterDraw {
  int64_t size = 0;
  FilterTargets targets;
  at::Tensor image, text;                    // heads: unit embeddings, each of one of its versions
  at::Tensor pixels, ids;                    // finetune: of the samples, changed or not
  at::Tensor original_image, original_text;  // finetune: unit embeddings of the untouched model
  at::Tensor text_keys, image_keys;          // finetune: equal for equal content
  at::Tensor matches;                        // finetune: int64, rows that are benign and match
  bool changed = false;                      // augmented
  nn::Arrival arrival;                       // to be waited for first
};

class FilterTask final : public TaskOf<FilterDraw> {
 public:
  FilterTask(HeadNet& net, const FilterOptions& options, const FilterTaskInputs& inputs);

  std::vector<TrainableParameter> parameters() override;
  SourcePtr<FilterDraw> batches(const Communicator& communicator) override;
  StepLoss loss(FilterDraw& drawn, const StepInfo& info) override;
  std::map<std::string, double> validate(const StepInfo& info) override;
  std::optional<MemoryNeed> memory() const override;

  // Logits of a whole set without changes or dropout, in chunks of 256, on the CPU. Each process
  // computes its share and all return the same.
  HeadLogits logits_of(const FilterInputs& inputs, const FilterEmbeddings& embeds,
                       Communicator& communicator, at::Tensor* cosines = nullptr);

 private:
  // On the source's thread.
  FilterDraw draw(const FilterRows& rows) const;
  void draw_embeddings(const FilterRows& rows, FilterDraw& out) const;
  void draw_samples(const FilterRows& rows, FilterDraw& out) const;
  // Fills in the embeddings of a drawn batch.
  void add_noise(FilterDraw& batch) const;
  void encode(FilterDraw& batch);
  at::Tensor encode_pixels(const at::Tensor& pixels);
  at::Tensor contradiction_loss(const FilterDraw& batch, const HeadLogits& logits);
  at::Tensor adversarial_loss(const FilterDraw& batch);
  at::Tensor opponent_loss(const HeadLogits& logits, const FilterTargets& targets);
  at::Tensor keep_contrastive(const FilterDraw& batch);
  at::Tensor keep_original(const FilterDraw& batch);
  bool finetunes() const { return options_.mode == "finetune"; }

  HeadNet& net_;
  FilterOptions options_;
  FilterTaskInputs in_;
  FilterLoss criterion_;
  std::vector<TrunkParameter> trunk_;
  at::Device device_;
  nn::Staging staging_;
  bool knows_matches_;  // some training pairs are known to match
  double logit_scale_ = 1;
  at::Tensor opponent_weight_, opponent_bias_;  // guesses the group from all hidden units
};

}  // namespace parapet

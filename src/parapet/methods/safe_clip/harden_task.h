// Fine-tuning a CLIP model so that unsafe text and images land on safe neighbours.
#pragma once
#include <future>
#include <memory>

#include "parapet/methods/safe_clip/objective.h"
#include "parapet/methods/safe_clip/quadruplet_store.h"
#include "parapet/models/clip/clip.h"
#include "parapet/training/task.h"

namespace parapet {

struct HardenOptions {
  int64_t batch = 32;                // quadruplets per micro-batch and process
  std::string towers = "both";       // both | text | image: what is trained
  std::string mode = "lora";         // lora | full
  std::string reference = "frozen";  // frozen | shared (ablation: the student is its own reference)
  // shield_clip on data without per-half labels: shares of generated pairs shown with a safe image,
  // a safe text, or both (ViSUv2 has .305, .084, .088).
  std::vector<double> shield_mix = {.305, .084, .088};
  int64_t validation_chunk = 100;  // rows per InfoNCE in validation, whatever the batch size
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

class HardenTask final : public TrainingTask {
 public:
  // `model` carries the adapters (or is to be trained whole); the references are of the untouched
  // original. All objects must outlive the task. `val` may be empty.
  HardenTask(ClipModel& model, const HardenOptions& options, const ObjectiveOptions& objective,
             const QuadrupletStore& train, QuadrupletEmbeddings train_reference,
             const QuadrupletStore& val, QuadrupletEmbeddings val_reference, double logit_scale,
             uint64_t seed, int64_t rank, int64_t world_size);
  ~HardenTask() override;

  std::vector<TrainableParameter> parameters() override;
  StepLoss loss(const StepInfo& info) override;
  std::map<std::string, double> validate(const StepInfo& info) override;
  nlohmann::json state() const override;
  void restore(const nlohmann::json& state) override;

 private:
  struct Batch {
    std::vector<int64_t> rows;
    at::Tensor ids, pixels;
    at::Tensor text_unsafe, image_unsafe;      // shield_clip, bool [n]
    at::Tensor text_replaced, image_replaced;  // the generated half shows the safe partner's
  };
  Batch draw(int64_t position) const;
  void mix_for_shield(Batch& batch, int64_t first) const;
  // Tuned embeddings of ids and pixels as drawn; a tower that is not trained takes the reference's.
  QuadrupletEmbeddings embed(const Batch& batch, const QuadrupletEmbeddings& reference);
  ObjectiveInput input_of(const Batch& batch);
  void find_targets();

  ClipModel& model_;
  HardenOptions options_;
  std::unique_ptr<Objective> objective_;
  bool shield_ = false;
  const QuadrupletStore& train_;
  QuadrupletEmbeddings reference_;
  const QuadrupletStore& val_;
  QuadrupletEmbeddings val_reference_;
  double logit_scale_;
  uint64_t seed_;
  int64_t rank_, world_size_;
  at::Tensor target_of_text_, target_of_image_;  // int64 [train], rows of the nearest safe item
  at::Tensor difficulty_;                        // float32 [train]
  int64_t position_ = 0;
  std::future<Batch> pending_;
};

}  // namespace parapet

// Fine-tuning a CLIP model so that unsafe text and images land on safe neighbours.
#pragma once
#include <memory>

#include "parapet/methods/safe_clip/objective.h"
#include "parapet/methods/safe_clip/references.h"
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

// Everything is referred to and must outlive the task.
struct HardenData {
  const QuadrupletSet* train = nullptr;
  const References* train_references = nullptr;
  const QuadrupletList* val = nullptr;  // null or empty = no validation
  const References* val_references = nullptr;
  int64_t text_tokens = 0;  // of the longest text seen so far; 0 = not known
};

class HardenTask final : public TaskOf<QuadrupletBatch> {
 public:
  // `model` carries the adapters (or is to be trained whole); the references are of the untouched
  // original. UsageError when the objective looks through all references and there is no table.
  HardenTask(ClipModel& model, const HardenOptions& options, const ObjectiveOptions& objective,
             const HardenData& data, double logit_scale, uint64_t seed);

  std::vector<TrainableParameter> parameters() override;
  SourcePtr<QuadrupletBatch> batches(const Communicator& communicator) override;
  StepLoss loss(QuadrupletBatch& batch, const StepInfo& info) override;
  std::map<std::string, double> validate(const StepInfo& info) override;
  Selection selection() const override { return {"recall", true}; }
  std::optional<MemoryNeed> memory() const override;

 private:
  // What `shield_clip` makes of a batch: which halves are to be safe.
  struct Shield {
    at::Tensor text_unsafe, image_unsafe;      // bool [n]
    at::Tensor text_replaced, image_replaced;  // the generated half shows the safe partner's
  };
  Shield mix_for_shield(const QuadrupletBatch& batch, QuadrupletTensors& input,
                        QuadrupletKeys& keys) const;
  // Tuned embeddings; a tower that is not trained takes the reference's.
  QuadrupletEmbeddings embed(const QuadrupletTensors& input,
                             const QuadrupletEmbeddings& reference) const;
  ObjectiveInput input_of(const QuadrupletBatch& batch);
  QuadrupletKeys keys_of(const QuadrupletBatch& batch) const;
  void add_targets(const QuadrupletBatch& batch, ObjectiveInput& input) const;
  void find_targets();

  ClipModel& model_;
  HardenOptions options_;
  std::unique_ptr<Objective> objective_;
  bool shield_ = false;
  HardenData data_;
  double logit_scale_;
  uint64_t seed_;
  at::Device device_;
  at::Tensor target_of_text_, target_of_image_;  // int64 [train], rows of the nearest safe item
  at::Tensor difficulty_;                        // float32 [train]
};

}  // namespace parapet

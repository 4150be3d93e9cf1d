// Fine-tuning a CLIP model so that unsafe text and images land on safe neighbours.
#pragma once
#include <memory>

#include "parapet/methods/safe_clip/objective.h"
#include "parapet/methods/safe_clip/references.h"
#include "parapet/models/clip/clip.h"
#include "parapet/nn/staging.h"
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

// A batch on its way to the model's device, with all that is known of it before the model computes.
struct HardenBatch {
  QuadrupletTensors input;
  // Without tuned embeddings; without reference where the model computes it.
  ObjectiveInput known;
  // `shield_clip`: the generated half is to show the safe partner's, bool [n]; else undefined.
  at::Tensor text_replaced, image_replaced;
  nn::Arrival arrival;  // to be waited for first
  int64_t size = 0;
};

class HardenTask final : public TaskOf<HardenBatch> {
 public:
  // `model` carries the adapters (or is to be trained whole); the references are of the untouched
  // original. UsageError when the objective looks through all references and there is no table.
  HardenTask(ClipModel& model, const HardenOptions& options, const ObjectiveOptions& objective,
             const HardenData& data, double logit_scale, uint64_t seed);

  std::vector<TrainableParameter> parameters() override;
  SourcePtr<HardenBatch> batches(const Communicator& communicator) override;
  StepLoss loss(HardenBatch& batch, const StepInfo& info) override;
  std::map<std::string, double> validate(const StepInfo& info) override;
  Selection selection() const override { return {"recall", true}; }
  std::optional<MemoryNeed> memory() const override;

 private:
  // On a source's thread; they know no device but for sending.
  HardenBatch prepare(const QuadrupletBatch& batch, const References& references) const;
  void mix_for_shield(const QuadrupletBatch& batch, HardenBatch& out) const;
  void add_targets(const QuadrupletBatch& batch, ObjectiveInput& input) const;
  void send(HardenBatch& batch) const;

  // Halves that are to be safe show the safe partner's content, and have its reference.
  static void replace_halves(const HardenBatch& batch, QuadrupletTensors& input,
                             QuadrupletEmbeddings& reference);
  // Tuned embeddings; a tower that is not trained takes the reference's.
  QuadrupletEmbeddings embed(const QuadrupletTensors& input,
                             const QuadrupletEmbeddings& reference) const;
  ObjectiveInput input_of(const HardenBatch& batch) const;
  void find_targets();

  ClipModel& model_;
  HardenOptions options_;
  std::unique_ptr<Objective> objective_;
  bool shield_ = false;
  HardenData data_;
  double logit_scale_;
  uint64_t seed_;
  nn::Staging staging_;
  at::Tensor target_of_text_, target_of_image_;  // int64 [train], rows of the nearest safe item
  at::Tensor difficulty_;                        // float32 [train]
};

}  // namespace parapet

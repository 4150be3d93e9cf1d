// CLIP pre-training and fine-tuning: symmetric InfoNCE between captions and images, with optional
// auxiliary heads that name what is drawn (the sample world knows), which teach a small image tower
// to see objects before the contrastive loss can.
#pragma once
#include "parapet/core/options.h"
#include "parapet/methods/contrastive/caption_source.h"
#include "parapet/models/clip/clip.h"
#include "parapet/training/task.h"

namespace parapet {

struct ContrastiveOptions {
  int64_t batch = 128;           // pairs per micro-batch and process
  double logit_scale_lr = 5.0;   // multiplies the learning rate of the logit scale
  double max_logit_scale = 100;  // the scale is clamped to [1, max] after each step
  double auxiliary = 0.0;        // weight of the auxiliary heads at the start; 0 = none
  double auxiliary_until = 0.8;  // share of the run at which their weight reaches 0
  int64_t validation_samples = 512;
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

// Linear heads on pooled states: which glyphs are drawn (BCE) and the colour (cross-entropy).
struct WorldHeads {
  at::Tensor glyph_weight, glyph_bias, colour_weight, colour_bias;
  // Zero-initialised biases, small random weights; `purpose` separates streams.
  static WorldHeads random(int64_t width, uint64_t seed, std::string_view purpose);
  // Copies of their own on a device.
  WorldHeads on(at::Device device) const;
  std::vector<TrainableParameter> parameters(const std::string& prefix) const;
  // BCE(z - 4) * 80 / 3 + 0.3 * colour cross-entropy; pooled [n, width].
  at::Tensor loss(const at::Tensor& pooled, const CaptionBatch& batch, double glyph_weight_factor,
                  double colour_weight_factor) const;
};

// The image tower alone, on world samples: single glyphs first, then full scenes.
class ImageWarmupTask final : public TrainingTask {
 public:
  // The first fifth of the steps draws from `singles`, the rest from `scenes`.
  ImageWarmupTask(ClipModel& model, WorldHeads heads, const CaptionSource& singles,
                  const CaptionSource& scenes, int64_t batch, int64_t rank, int64_t world_size);
  std::vector<TrainableParameter> parameters() override;
  StepLoss loss(const StepInfo& info) override;
  std::map<std::string, double> validate(const StepInfo& info) override;
  nlohmann::json state() const override;
  void restore(const nlohmann::json& state) override;

 private:
  ClipModel& model_;
  WorldHeads heads_;
  int64_t batch_;
  SourcePtr<CaptionBatch> singles_, scenes_;
  CaptionBatch validation_;
};

class ContrastiveTask final : public TrainingTask {
 public:
  // `image_heads` and `text_heads` are used when options.auxiliary > 0. With `lora` on the model,
  // only adapters (and the logit scale) train.
  ContrastiveTask(ClipModel& model, const ContrastiveOptions& options, const CaptionSource& source,
                  WorldHeads image_heads, WorldHeads text_heads, int64_t rank, int64_t world_size);
  std::vector<TrainableParameter> parameters() override;
  StepLoss loss(const StepInfo& info) override;
  void after_step(const StepInfo& info) override;
  std::map<std::string, double> validate(const StepInfo& info) override;
  nlohmann::json state() const override;
  void restore(const nlohmann::json& state) override;

 private:
  ClipModel& model_;
  ContrastiveOptions options_;
  WorldHeads image_heads_, text_heads_;
  SourcePtr<CaptionBatch> batches_;
  CaptionBatch validation_;
};

}  // namespace parapet

// CLIP pre-training and fine-tuning: symmetric InfoNCE between captions and images, with optional
// auxiliary heads that name what is drawn (the sample world knows), which teach a small image tower
// to see objects before the contrastive loss can.
#pragma once
#include "parapet/core/options.h"
#include "parapet/data/captions.h"
#include "parapet/models/clip/clip.h"
#include "parapet/nn/staging.h"
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

// A batch of captions on the model's device, or on its way there.
struct CaptionTensors {
  at::Tensor pixels;                 // [n, 3, h, w] float32, normalised
  at::Tensor ids;                    // int64 [n, t]
  at::Tensor text_keys, image_keys;  // int64 [n]
  at::Tensor glyphs;    // float32 [n, kGlyphs] 0/1, what is drawn; undefined outside the world
  at::Tensor colours;   // int64 [n]; undefined outside the world
  nn::Arrival arrival;  // to be waited for first
  CaptionTensors() = default;
  CaptionTensors(const CaptionBatch& batch, const nn::Staging& staging);
  CaptionTensors slice(int64_t begin, int64_t end) const;
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
  at::Tensor loss(const at::Tensor& pooled, const CaptionTensors& batch, double glyph_weight_factor,
                  double colour_weight_factor) const;
};

// The image tower alone, on world samples: single glyphs first, then full scenes.
class ImageWarmupTask final : public TaskOf<CaptionTensors> {
 public:
  // The first fifth of `steps` draws from `singles`, the rest from `scenes`; both outlive the task.
  ImageWarmupTask(ClipModel& model, WorldHeads heads, const CaptionSet& singles,
                  const CaptionSet& scenes, int64_t batch, int64_t steps,
                  const Communicator& communicator);
  std::vector<TrainableParameter> parameters() override;
  SourcePtr<CaptionTensors> batches(const Communicator& communicator) override;
  StepLoss loss(CaptionTensors& batch, const StepInfo& info) override;
  std::map<std::string, double> validate(const StepInfo& info) override;
  std::optional<MemoryNeed> memory() const override;

 private:
  ClipModel& model_;
  WorldHeads heads_;
  const CaptionSet& singles_;
  const CaptionSet& scenes_;
  int64_t batch_, steps_;
  CaptionTensors validation_;  // this process's share
};

class ContrastiveTask final : public TaskOf<CaptionTensors> {
 public:
  // `image_heads` and `text_heads` are used when options.auxiliary > 0. With `lora` on the model,
  // only adapters (and the logit scale) train. `data` outlives the task.
  ContrastiveTask(ClipModel& model, const ContrastiveOptions& options, const CaptionSet& data,
                  WorldHeads image_heads, WorldHeads text_heads, const Communicator& communicator);
  std::vector<TrainableParameter> parameters() override;
  SourcePtr<CaptionTensors> batches(const Communicator& communicator) override;
  StepLoss loss(CaptionTensors& batch, const StepInfo& info) override;
  void after_step(const StepInfo& info) override;
  std::map<std::string, double> validate(const StepInfo& info) override;
  Selection selection() const override { return {"recall", true}; }
  std::optional<MemoryNeed> memory() const override;

 private:
  ClipModel& model_;
  ContrastiveOptions options_;
  WorldHeads image_heads_, text_heads_;
  const CaptionSet& data_;
  CaptionTensors validation_;  // this process's share
};

}  // namespace parapet

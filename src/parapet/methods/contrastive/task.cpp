#include "parapet/methods/contrastive/task.h"

#include <ATen/ATen.h>

#include <cmath>

#include "parapet/core/random.h"
#include "parapet/data/sources/compose.h"
#include "parapet/data/world_captions.h"
#include "parapet/methods/clip_memory.h"
#include "parapet/nn/contrastive.h"
#include "parapet/nn/layers.h"
#include "parapet/training/sharding.h"

namespace parapet {
namespace {

at::Tensor small_random(at::IntArrayRef shape, uint64_t seed, const std::string& purpose) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  Random random = Random::named(seed, purpose);
  float* data = tensor.data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) data[i] = static_cast<float>(random.normal() * 0.02);
  return tensor.requires_grad_(true);
}

// Decay on matrices only, as CLIP does.
TrainableParameter trainable(const std::string& name, at::Tensor& tensor) {
  tensor.requires_grad_(true);
  return {name, tensor, 1.0, tensor.dim() >= 2};
}

at::Tensor integers(const std::vector<int64_t>& values, at::IntArrayRef shape) {
  return at::tensor(values, at::kLong).view(shape);
}

// Batches that set out for the model's device as soon as they are made.
SourcePtr<CaptionTensors> sent(SourcePtr<CaptionBatch> source, const ClipModel& model) {
  return map<CaptionBatch, CaptionTensors>(
      std::move(source), [staging = nn::Staging(model.device()),
                          rows = model.config().text.vocab_size](const CaptionBatch& batch) {
        // Here, in memory: a device would stop at a wrong one.
        nn::check_ids(at::tensor(batch.ids.values, at::kLong), rows, "text");
        return CaptionTensors(batch, staging);
      });
}

// Once, before training.
CaptionTensors validation_tensors(const CaptionBatch& batch, const ClipModel& model) {
  CaptionTensors tensors(batch, nn::Staging(model.device()));
  tensors.arrival.wait();
  return tensors;
}

// Rows per forward pass in validation: shares are whole chunks, so that several processes compute
// the very batches that one would.
constexpr int64_t kChunk = 128;

}  // namespace

CaptionTensors::CaptionTensors(const CaptionBatch& batch, const nn::Staging& staging) {
  const int64_t n = batch.size();
  if (n == 0) return;
  pixels = at::from_blob(
      batch.pixels.values.get(), {n, 3, batch.pixels.height, batch.pixels.width},
      [kept = batch.pixels.values](void*) {}, at::kFloat);
  ids = integers(batch.ids.values, {n, batch.ids.width});
  text_keys = integers(batch.text_keys, {n});
  image_keys = integers(batch.image_keys, {n});
  if (batch.world) {
    glyphs = at::tensor(batch.world->glyphs, at::kFloat).view({n, kGlyphs});
    colours = integers(batch.world->colours, {n});
  }
  arrival = staging.send({&pixels, &ids, &text_keys, &image_keys, &glyphs, &colours});
}

CaptionTensors CaptionTensors::slice(int64_t begin, int64_t end) const {
  CaptionTensors part = *this;
  for (at::Tensor* x :
       {&part.pixels, &part.ids, &part.text_keys, &part.image_keys, &part.glyphs, &part.colours})
    if (x->defined()) *x = x->slice(0, begin, end);
  return part;
}

void ContrastiveOptions::visit(OptionList& list) {
  list.add("batch-size", batch, "pairs per micro-batch and process");
  list.add("logit-scale-lr", logit_scale_lr, "multiplies the learning rate of the logit scale");
  list.add("max-logit-scale", max_logit_scale, "upper bound of the logit scale (CLIP: 100)");
  list.add("auxiliary", auxiliary, "weight of the sample world's auxiliary heads; 0 = none");
  list.add("auxiliary-until", auxiliary_until, "share of the run at which their weight is 0");
  list.add("validation-samples", validation_samples, "validation pairs used");
}

void ContrastiveOptions::validate(Problems& problems) const {
  problems.require(batch >= 2 && batch <= 1 << 20, "--batch-size", "must be in 2..1048576");
  problems.require(max_logit_scale >= 1, "--max-logit-scale", "must be >= 1");
  problems.require(auxiliary >= 0, "--auxiliary", "must be >= 0");
  problems.require(auxiliary_until > 0 && auxiliary_until <= 1, "--auxiliary-until",
                   "must be in (0, 1]");
  problems.require(validation_samples >= 2, "--validation-samples", "must be >= 2");
}

WorldHeads WorldHeads::random(int64_t width, uint64_t seed, std::string_view purpose) {
  const std::string stream(purpose);
  WorldHeads heads;
  heads.glyph_weight = small_random({kGlyphs, width}, seed, stream + ".glyph");
  heads.colour_weight = small_random({kColours, width}, seed, stream + ".colour");
  heads.glyph_bias = at::zeros({kGlyphs}, at::kFloat).requires_grad_(true);
  heads.colour_bias = at::zeros({kColours}, at::kFloat).requires_grad_(true);
  return heads;
}

WorldHeads WorldHeads::on(at::Device device) const {
  auto move = [&](const at::Tensor& x) { return x.detach().to(device).requires_grad_(true); };
  return {move(glyph_weight), move(glyph_bias), move(colour_weight), move(colour_bias)};
}

std::vector<TrainableParameter> WorldHeads::parameters(const std::string& prefix) const {
  return {{prefix + ".glyph.weight", glyph_weight, 1.0, true},
          {prefix + ".glyph.bias", glyph_bias, 1.0, false},
          {prefix + ".colour.weight", colour_weight, 1.0, true},
          {prefix + ".colour.bias", colour_bias, 1.0, false}};
}

at::Tensor WorldHeads::loss(const at::Tensor& pooled, const CaptionTensors& batch,
                            double glyph_weight_factor, double colour_weight_factor) const {
  // A scene holds about three of 80 glyphs: the shift by 4 starts near that rate, the factor makes
  // the mean over classes count per glyph drawn.
  const at::Tensor logits = at::linear(pooled, glyph_weight, glyph_bias) - 4.0;
  const at::Tensor glyphs =
      at::binary_cross_entropy_with_logits(logits, batch.glyphs) * (kGlyphs / 3.0);
  const at::Tensor colour =
      at::cross_entropy_loss(at::linear(pooled, colour_weight, colour_bias), batch.colours);
  return glyphs * glyph_weight_factor + colour * colour_weight_factor;
}

// ---- image tower alone -----------------------------------------------------

ImageWarmupTask::ImageWarmupTask(ClipModel& model, WorldHeads heads, const CaptionSet& singles,
                                 const CaptionSet& scenes, int64_t batch, int64_t steps,
                                 const Communicator& communicator)
    : model_(model),
      heads_(std::move(heads)),
      singles_(singles),
      scenes_(scenes),
      batch_(batch),
      steps_(steps),
      validation_(validation_tensors(
          scenes.validation(256, kChunk, communicator.rank(), communicator.world_size()), model)) {}

std::vector<TrainableParameter> ImageWarmupTask::parameters() {
  std::vector<TrainableParameter> list;
  nn::each_parameter(model_, [&](const std::string& name, nn::Parameter& parameter) {
    if (name.starts_with("vision_model.")) list.push_back(trainable(name, parameter.value));
  });
  for (auto& head : heads_.parameters("image_heads")) list.push_back(head);
  return list;
}

SourcePtr<CaptionTensors> ImageWarmupTask::batches(const Communicator& communicator) {
  const auto open = [&](const CaptionSet& set) {
    return set.open(batch_, communicator.rank(), communicator.world_size());
  };
  return sent(sequence(open(singles_), (steps_ + 4) / 5, open(scenes_)), model_);
}

std::optional<MemoryNeed> ImageWarmupTask::memory() const {
  ClipStep step;
  step.batch = batch_;
  step.texts = 0;
  return clip_memory(model_, step);
}

StepLoss ImageWarmupTask::loss(CaptionTensors& batch, const StepInfo& /*info*/) {
  batch.arrival.wait();
  StepLoss out;
  out.total = heads_.loss(model_.vision_model().pooled(batch.pixels), batch, 1.0, 0.3);
  out.terms = {{"auxiliary", out.total.detach()}};
  out.samples = batch.pixels.size(0);
  return out;
}

std::map<std::string, double> ImageWarmupTask::validate(const StepInfo& info) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> sums = {at::zeros({2}, at::kDouble)};  // loss x rows, rows
  const int64_t own = validation_.pixels.defined() ? validation_.pixels.size(0) : 0;
  for (int64_t begin = 0; begin < own; begin += kChunk) {
    const CaptionTensors part = validation_.slice(begin, begin + kChunk);
    const at::Tensor loss = heads_.loss(model_.vision_model().pooled(part.pixels), part, 1.0, 0.3);
    sums[0] += at::tensor({loss.item<double>(), 1.0}, at::kDouble) * part.pixels.size(0);
  }
  info.communicator->all_reduce_sum(sums);
  return {{"loss", sums[0][0].item<double>() / sums[0][1].item<double>()}};
}

// ---- both towers -----------------------------------------------------------

ContrastiveTask::ContrastiveTask(ClipModel& model, const ContrastiveOptions& options,
                                 const CaptionSet& data, WorldHeads image_heads,
                                 WorldHeads text_heads, const Communicator& communicator)
    : model_(model),
      options_(options),
      image_heads_(std::move(image_heads)),
      text_heads_(std::move(text_heads)),
      data_(data),
      validation_(
          validation_tensors(data.validation(options.validation_samples, kChunk,
                                             communicator.rank(), communicator.world_size()),
                             model)) {}

std::vector<TrainableParameter> ContrastiveTask::parameters() {
  std::vector<TrainableParameter> list;
  for (auto& [name, tensor] : nn::lora_parameters(model_)) list.push_back(trainable(name, tensor));
  const bool adapters_only = !list.empty();
  nn::each_parameter(model_, [&](const std::string& name, nn::Parameter& parameter) {
    if (name == "logit_scale") {
      list.push_back(trainable(name, parameter.value));
      list.back().lr_scale = options_.logit_scale_lr;
    } else if (!adapters_only) {
      list.push_back(trainable(name, parameter.value));
    }
  });
  if (options_.auxiliary > 0) {
    for (auto& head : image_heads_.parameters("image_heads")) list.push_back(head);
    for (auto& head : text_heads_.parameters("text_heads")) list.push_back(head);
  }
  return list;
}

SourcePtr<CaptionTensors> ContrastiveTask::batches(const Communicator& communicator) {
  return sent(data_.open(options_.batch, communicator.rank(), communicator.world_size()), model_);
}

std::optional<MemoryNeed> ContrastiveTask::memory() const {
  ClipStep step;
  step.batch = options_.batch;
  if (validation_.ids.defined()) step.tokens = validation_.ids.size(1);
  if (nn::lora_parameters(model_).empty()) step.lighter_mode = "--mode lora";
  return clip_memory(model_, step);
}

StepLoss ContrastiveTask::loss(CaptionTensors& batch, const StepInfo& info) {
  batch.arrival.wait();
  const at::Tensor image_pooled = model_.vision_model().pooled(batch.pixels.to(model_.compute()));
  const at::Tensor text_pooled = model_.text_model().pooled(batch.ids, model_.compute());
  const at::Tensor images = nn::normalise_rows(model_.project_image(image_pooled));
  const at::Tensor texts = nn::normalise_rows(model_.project_text(text_pooled));
  const at::Tensor keys =
      info.communicator->gather(at::stack({batch.text_keys, batch.image_keys}, 1));
  const at::Tensor contrastive = nn::info_nce(
      info.communicator->gather(texts), info.communicator->gather(images),
      model_.logit_scale().value.exp(), nn::duplicate_rows(keys.select(1, 0), keys.select(1, 1)));
  StepLoss out;
  out.total = contrastive;
  out.terms = {{"contrastive", contrastive.detach()}};
  const double progress =
      static_cast<double>(info.step) / static_cast<double>(std::max<int64_t>(1, info.total_steps));
  const double weight = options_.auxiliary * (1.0 - progress / options_.auxiliary_until);
  if (weight > 0 && batch.glyphs.defined()) {
    const at::Tensor auxiliary = image_heads_.loss(image_pooled.to(at::kFloat), batch, 1.0, 0.3) +
                                 text_heads_.loss(text_pooled.to(at::kFloat), batch, 0.3, 0.1);
    out.total = out.total + auxiliary * weight;
    out.terms.push_back({"auxiliary", auxiliary.detach()});
  }
  out.samples = batch.pixels.size(0);
  return out;
}

void ContrastiveTask::after_step(const StepInfo& /*info*/) {
  at::NoGradGuard no_grad;
  model_.logit_scale().value.clamp_(0.0, std::log(options_.max_logit_scale));
}

std::map<std::string, double> ContrastiveTask::validate(const StepInfo& info) {
  const at::NoGradGuard no_grad;
  const auto device = model_.device();
  std::vector<at::Tensor> image_parts, text_parts;
  const int64_t own = validation_.pixels.defined() ? validation_.pixels.size(0) : 0;
  model_.set_training(false);  // no dropout on adapters
  for (int64_t begin = 0; begin < own; begin += kChunk) {
    image_parts.push_back(nn::normalise_rows(
        model_.encode_image(validation_.pixels.slice(0, begin, begin + kChunk))));
    text_parts.push_back(
        nn::normalise_rows(model_.encode_text(validation_.ids.slice(0, begin, begin + kChunk))));
  }
  model_.set_training(true);
  // A process may have no share of a small validation set.
  const auto all = [&](const std::vector<at::Tensor>& parts) {
    const at::Tensor none = at::empty({0, model_.config().projection_dim},
                                      at::TensorOptions(at::kFloat).device(device));
    return gather_shares(parts.empty() ? none : at::cat(parts), *info.communicator);
  };
  const at::Tensor images = all(image_parts), texts = all(text_parts);
  const at::Tensor own_keys = own > 0
                                  ? at::stack({validation_.text_keys, validation_.image_keys}, 1)
                                  : at::empty({0, 2}, at::TensorOptions(at::kLong).device(device));
  const at::Tensor keys = gather_shares(own_keys, *info.communicator);
  if (images.size(0) == 0) return {};
  const double t2v = nn::recall_at_1(texts, images), v2t = nn::recall_at_1(images, texts);
  const at::Tensor scale = model_.logit_scale().value.exp();
  const at::Tensor loss =
      nn::info_nce(texts, images, scale, nn::duplicate_rows(keys.select(1, 0), keys.select(1, 1)));
  return {{"loss", loss.item<double>()},
          {"recall", t2v + v2t},
          {"T2V.R@1", t2v},
          {"V2T.R@1", v2t},
          {"logit_scale", scale.item<double>()}};
}

}  // namespace parapet

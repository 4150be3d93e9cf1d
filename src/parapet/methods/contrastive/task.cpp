#include "parapet/methods/contrastive/task.h"

#include <ATen/ATen.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/core/random.h"
#include "parapet/nn/contrastive.h"
#include "parapet/training/distributed.h"

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

// The next batch is drawn while one trains.
SourcePtr<CaptionBatch> drawn_ahead(const CaptionSource& source, int64_t batch, int64_t rank,
                                    int64_t world_size) {
  return prefetch(source.open(batch, rank, world_size), 1);
}

CaptionBatch next_of(Source<CaptionBatch>& batches) {
  CaptionBatch batch;
  batches.next(batch);
  return batch;
}

CaptionBatch on_device(CaptionBatch batch, at::Device device) {
  for (at::Tensor* part : {&batch.pixels, &batch.ids, &batch.glyphs, &batch.colours})
    if (part->defined()) *part = part->to(device);
  return batch;
}

at::Device device_of(ClipModel& model) { return model.logit_scale().value.device(); }

}  // namespace

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

at::Tensor WorldHeads::loss(const at::Tensor& pooled, const CaptionBatch& batch,
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

ImageWarmupTask::ImageWarmupTask(ClipModel& model, WorldHeads heads, const CaptionSource& singles,
                                 const CaptionSource& scenes, int64_t batch, int64_t rank,
                                 int64_t world_size)
    : model_(model),
      heads_(std::move(heads)),
      batch_(batch),
      singles_(drawn_ahead(singles, batch, rank, world_size)),
      scenes_(drawn_ahead(scenes, batch, rank, world_size)),
      validation_(on_device(scenes.validation(256), device_of(model))) {}

std::vector<TrainableParameter> ImageWarmupTask::parameters() {
  std::vector<TrainableParameter> list;
  model_.visit([&](const std::string& name, nn::Parameter& parameter) {
    if (name.starts_with("vision_model.")) list.push_back(trainable(name, parameter.value));
  });
  for (auto& head : heads_.parameters("image_heads")) list.push_back(head);
  return list;
}

StepLoss ImageWarmupTask::loss(const StepInfo& info) {
  const bool early = info.step * 5 < info.total_steps;
  const CaptionBatch batch = on_device(next_of(early ? *singles_ : *scenes_), device_of(model_));
  StepLoss out;
  out.total = heads_.loss(model_.vision_model().pooled(batch.pixels), batch, 1.0, 0.3);
  out.terms = {{"auxiliary", out.total.item<double>()}};
  out.samples = batch_;
  return out;
}

std::map<std::string, double> ImageWarmupTask::validate(const StepInfo& /*info*/) {
  at::NoGradGuard no_grad;
  return {
      {"loss", heads_.loss(model_.vision_model().pooled(validation_.pixels), validation_, 1.0, 0.3)
                   .item<double>()}};
}

nlohmann::json ImageWarmupTask::state() const {
  return {{"singles", singles_->position()}, {"scenes", scenes_->position()}};
}

void ImageWarmupTask::restore(const nlohmann::json& state) {
  singles_->restore(state.at("singles"));
  scenes_->restore(state.at("scenes"));
}

// ---- both towers -----------------------------------------------------------

ContrastiveTask::ContrastiveTask(ClipModel& model, const ContrastiveOptions& options,
                                 const CaptionSource& source, WorldHeads image_heads,
                                 WorldHeads text_heads, int64_t rank, int64_t world_size)
    : model_(model),
      options_(options),
      image_heads_(std::move(image_heads)),
      text_heads_(std::move(text_heads)),
      batches_(drawn_ahead(source, options.batch, rank, world_size)),
      validation_(on_device(source.validation(options.validation_samples), device_of(model))) {}

std::vector<TrainableParameter> ContrastiveTask::parameters() {
  std::vector<TrainableParameter> list;
  for (auto& [name, tensor] : nn::lora_parameters(model_.linears()))
    list.push_back(trainable(name, tensor));
  const bool adapters_only = !list.empty();
  model_.visit([&](const std::string& name, nn::Parameter& parameter) {
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

StepLoss ContrastiveTask::loss(const StepInfo& info) {
  const CaptionBatch batch = on_device(next_of(*batches_), device_of(model_));
  const at::Tensor image_pooled = model_.vision_model().pooled(batch.pixels.to(model_.compute()));
  const at::Tensor text_pooled = model_.text_model().pooled(batch.ids, model_.compute());
  const at::Tensor images = nn::normalise_rows(model_.project_image(image_pooled));
  const at::Tensor texts = nn::normalise_rows(model_.project_text(text_pooled));
  const at::Tensor contrastive =
      nn::info_nce(info.communicator->gather(texts), info.communicator->gather(images),
                   model_.logit_scale().value.exp());
  StepLoss out;
  out.total = contrastive;
  out.terms = {{"contrastive", contrastive.item<double>()}};
  const double progress =
      static_cast<double>(info.step) / static_cast<double>(std::max<int64_t>(1, info.total_steps));
  const double weight = options_.auxiliary * (1.0 - progress / options_.auxiliary_until);
  if (weight > 0 && batch.glyphs.defined()) {
    const at::Tensor auxiliary = image_heads_.loss(image_pooled.to(at::kFloat), batch, 1.0, 0.3) +
                                 text_heads_.loss(text_pooled.to(at::kFloat), batch, 0.3, 0.1);
    out.total = out.total + auxiliary * weight;
    out.terms.push_back({"auxiliary", auxiliary.item<double>()});
  }
  out.samples = options_.batch;
  return out;
}

void ContrastiveTask::after_step(const StepInfo& /*info*/) {
  at::NoGradGuard no_grad;
  model_.logit_scale().value.clamp_(0.0, std::log(options_.max_logit_scale));
}

std::map<std::string, double> ContrastiveTask::validate(const StepInfo& /*info*/) {
  if (!validation_.pixels.defined()) return {};
  at::NoGradGuard no_grad;
  constexpr int64_t kChunk = 128;
  model_.set_training(false);  // no dropout on adapters
  std::vector<at::Tensor> image_parts, text_parts;
  for (int64_t begin = 0; begin < validation_.pixels.size(0); begin += kChunk) {
    image_parts.push_back(model_.encode_image(validation_.pixels.slice(0, begin, begin + kChunk)));
    text_parts.push_back(model_.encode_text(validation_.ids.slice(0, begin, begin + kChunk)));
  }
  model_.set_training(true);
  const at::Tensor images = nn::normalise_rows(at::cat(image_parts));
  const at::Tensor texts = nn::normalise_rows(at::cat(text_parts));
  const double t2v = nn::recall_at_1(texts, images), v2t = nn::recall_at_1(images, texts);
  return {{"loss", nn::info_nce(texts, images, model_.logit_scale().value.exp()).item<double>()},
          {"recall", t2v + v2t},
          {"T2V.R@1", t2v},
          {"V2T.R@1", v2t},
          {"logit_scale", model_.logit_scale().value.exp().item<double>()}};
}

nlohmann::json ContrastiveTask::state() const { return {{"batches", batches_->position()}}; }

void ContrastiveTask::restore(const nlohmann::json& state) {
  batches_->restore(state.at("batches"));
}

}  // namespace parapet

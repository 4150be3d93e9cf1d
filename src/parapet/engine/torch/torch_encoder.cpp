#include "parapet/engine/torch/torch_encoder.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/engine/encoder/clip_pipeline.h"
#include "parapet/engine/torch/pixel_normaliser.h"
#include "parapet/engine/torch/recorded_tower.h"
#include "parapet/nn/device.h"
#include "parapet/nn/precision.h"

namespace parapet {
namespace {

class TorchEncoder final : public ClipPipeline {
 public:
  TorchEncoder(std::unique_ptr<ClipModel> owned, ClipModel* model, const ClipAssets& assets,
               const EncoderOptions& options)
      : ClipPipeline((owned ? owned.get() : model)->config(), assets, options,
                     at::Device(options.device)),
        owned_(std::move(owned)),
        model_(owned_ ? owned_.get() : model),
        images_([this](const at::Tensor& x) { return encode_pixels(x); }, recorder()),
        texts_([this](const at::Tensor& x) { return model_->encode_text(x); }, recorder()) {
    if (!on_cpu() && assets.processor) normaliser_.emplace(*assets.processor, staging().device());
  }

  // Libraries set themselves up and choose their algorithms in the first calls.
  void warm_up() {
    const c10::InferenceMode inference;
    nn::Pace pace(staging().device(), 1);
    const auto whole = at::TensorOptions().dtype(at::kLong).device(staging().device());
    if (config().has_vision() && assets().processor)
      for (const int64_t rows : {int64_t{1}, image_batch()})
        run_images(nn::to_device(new_batch(rows).zero_(), staging().device()));
    if (config().has_text() && assets().tokenizer)
      for (const int64_t rows : {int64_t{1}, text_batch()})
        run_texts(at::full({rows, std::min<int64_t>(16, text_context())},
                           assets().tokenizer->eos_id(), whole));
    pace.step();
    pace.finish();
  }

  int64_t dim() const override { return config().embedding_dim(); }

  double logit_scale() const override {
    const auto& value = model_->logit_scale().value;
    return value.defined() ? std::exp(value.item<double>()) : 1.0;
  }

  std::string identity() const override {
    if (!owned_) return {};
    std::call_once(identity_once_, [&] {
      Sha256 hash;
      nn::each_linear(*owned_, [&](const std::string& path, const nn::Linear& linear) {
        if (!linear.lora) return;
        for (const at::Tensor* part : {&linear.lora->a, &linear.lora->b}) {
          const at::Tensor plain = part->cpu().contiguous();
          hash.update(path).update({static_cast<const char*>(plain.data_ptr()), plain.nbytes()});
        }
        hash.update(std::to_string(linear.lora->scale));
      });
      hash.update(config().to_json().dump());
      hash.update(nn::parameters_hash(*owned_));
      hash.update(c10::toString(owned_->compute())).update(preprocessing_hash());
      identity_ = hash.hex();
    });
    return identity_;
  }

 protected:
  // For a device raw bytes, a quarter of what floats would be to copy.
  at::Tensor new_batch(int64_t count) const override {
    const ImageProcessor& processor = *assets().processor;
    if (on_cpu()) return at::empty({count, 3, processor.height(), processor.width()}, at::kFloat);
    return staging().memory({count, processor.height(), processor.width(), 3}, at::kByte);
  }
  void put(const Image& pixels, at::Tensor& batch, int64_t row) const override {
    if (on_cpu())
      assets().processor->normalise(pixels, batch.data_ptr<float>() + row * batch.stride(0));
    else
      std::copy(pixels.rgb.begin(), pixels.rgb.end(),
                batch.data_ptr<uint8_t>() + row * batch.stride(0));
  }
  at::Tensor run_images(const at::Tensor& batch) override { return images_.run(batch); }
  at::Tensor run_texts(const at::Tensor& ids) override { return texts_.run(ids); }

 private:
  bool on_cpu() const { return staging().device().is_cpu(); }
  at::Tensor encode_pixels(const at::Tensor& x) const {
    return model_->encode_image(normaliser_ ? (*normaliser_)(x) : x);
  }
  // Only of a model of its own: one in training changes.
  RecordedTower::Recorder recorder() const {
    const at::Device device = staging().device();
    if (!owned_ || !nn::can_record(device)) return nullptr;
    return [device](const std::function<void()>& work) { return nn::record_graph(device, work); };
  }

  std::unique_ptr<ClipModel> owned_;
  ClipModel* model_;
  std::optional<PixelNormaliser> normaliser_;  // on a device
  RecordedTower images_, texts_;
  mutable std::once_flag identity_once_;
  mutable std::string identity_;
};

}  // namespace

std::unique_ptr<Encoder> wrap_encoder(ClipModel& model, const ClipAssets& assets,
                                      const EncoderOptions& options) {
  return std::make_unique<TorchEncoder>(nullptr, &model, assets, options);
}

std::unique_ptr<Encoder> open_torch_encoder(const std::filesystem::path& model,
                                            const EncoderOptions& options, const Context& context) {
  if (options.precision == "int8")
    throw UsageError("--precision int8 needs --backend openvino or native");
  const at::Device device = nn::require_device(options.device);
  nn::prepare_device(device);
  load_clip_config(model);  // refuses other families before their weights are read
  const nn::Precision precision = nn::resolve_precision(options.precision, options.device);
  if (!precision.note.empty()) context.info(precision.note);
  auto clip = std::make_unique<ClipModel>(
      ClipModel::load(model, device, precision.weights,
                      options.copy_weights ? TensorStorage::kCopied : TensorStorage::kMapped));
  clip->set_compute(precision.compute);
  if (!options.adapter.empty()) nn::load_lora(*clip, options.adapter);
  ClipAssets assets = load_clip_assets(model, clip->config());
  auto encoder =
      std::make_unique<TorchEncoder>(std::move(clip), nullptr, std::move(assets), options);
  if (!device.is_cpu()) encoder->warm_up();
  return encoder;
}

}  // namespace parapet

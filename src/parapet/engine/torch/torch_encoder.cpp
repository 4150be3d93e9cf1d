#include "parapet/engine/torch/torch_encoder.h"

#include <ATen/ATen.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/engine/encoder/clip_pipeline.h"
#include "parapet/nn/device.h"
#include "parapet/nn/precision.h"

namespace parapet {
namespace {

class TorchEncoder final : public ClipPipeline {
 public:
  TorchEncoder(std::unique_ptr<ClipModel> owned, ClipModel* model, const ClipAssets& assets,
               const EncoderOptions& options)
      : ClipPipeline((owned ? owned.get() : model)->config(), assets, options),
        owned_(std::move(owned)),
        model_(owned_ ? owned_.get() : model),
        device_(options.device) {}

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
  at::Tensor new_batch(int64_t count) const override {
    const ImageProcessor& processor = *assets().processor;
    return at::empty({count, 3, processor.height(), processor.width()}, at::kFloat);
  }
  void put(const Image& pixels, at::Tensor& batch, int64_t row) const override {
    assets().processor->normalise(pixels, batch.data_ptr<float>() + row * batch.stride(0));
  }
  at::Tensor run_images(const at::Tensor& batch) override {
    return model_->encode_image(batch.to(device_));
  }
  at::Tensor run_texts(const at::Tensor& ids) override {
    return model_->encode_text(ids.to(device_));
  }

 private:
  std::unique_ptr<ClipModel> owned_;
  ClipModel* model_;
  at::Device device_;
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
  load_clip_config(model);  // refuses other families before their weights are read
  const nn::Precision precision = nn::resolve_precision(options.precision, options.device);
  if (!precision.note.empty()) context.info(precision.note);
  auto clip = std::make_unique<ClipModel>(
      ClipModel::load(model, device, precision.weights,
                      options.copy_weights ? TensorStorage::kCopied : TensorStorage::kMapped));
  clip->set_compute(precision.compute);
  if (!options.adapter.empty()) nn::load_lora(*clip, options.adapter);
  ClipAssets assets = load_clip_assets(model, clip->config());
  return std::make_unique<TorchEncoder>(std::move(clip), nullptr, std::move(assets), options);
}

}  // namespace parapet

#include "parapet/engine/torch/torch_encoder.h"

#include <ATen/ATen.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/engine/encoder/clip_pipeline.h"
#include "parapet/engine/int8/native_encoder.h"
#include "parapet/engine/openvino/openvino_encoder.h"
#include "parapet/models/model_folder.h"
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

  int64_t dim() const override { return config().projection_dim; }

  double logit_scale() const override {
    const auto& value = model_->logit_scale().value;
    return value.defined() ? std::exp(value.item<double>()) : 1.0;
  }

  std::string identity() const override {
    if (!owned_) return {};
    std::call_once(identity_once_, [&] {
      Sha256 hash;
      owned_->visit_linears([&](const std::string& path, const nn::Linear& linear) {
        if (!linear.lora) return;
        for (const at::Tensor* part : {&linear.lora->a, &linear.lora->b}) {
          const at::Tensor plain = part->cpu().contiguous();
          hash.update(path).update({static_cast<const char*>(plain.data_ptr()), plain.nbytes()});
        }
        hash.update(std::to_string(linear.lora->scale));
      });
      hash.update(config().to_json().dump());
      hash.update(nn::parameters_hash(owned_->parameters()));
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

ClipAssets load_clip_assets(const std::filesystem::path& folder, const ClipConfig& config) {
  ClipAssets assets;
  if (config.has_text()) assets.tokenizer = Tokenizer::load(folder);
  if (config.has_vision()) {
    assets.processor = std::filesystem::exists(folder / "preprocessor_config.json")
                           ? ImageProcessor::load(folder)
                           : ImageProcessor::clip_default(config.vision.image_size);
    if (assets.processor->height() != config.vision.image_size ||
        assets.processor->width() != config.vision.image_size)
      throw DataError((folder / "preprocessor_config.json").string(),
                      "makes " + std::to_string(assets.processor->width()) + " x " +
                          std::to_string(assets.processor->height()) + " pixels, the model takes " +
                          std::to_string(config.vision.image_size));
  }
  Sha256 hash;
  for (const std::string_view name : model_asset_names())
    if (std::filesystem::exists(folder / name))
      hash.update(name).update(sha256_file(folder / name));
  assets.files_hash = hash.hex();
  return assets;
}

std::unique_ptr<Encoder> wrap_encoder(ClipModel& model, const ClipAssets& assets,
                                      const EncoderOptions& options) {
  return std::make_unique<TorchEncoder>(nullptr, &model, assets, options);
}

std::unique_ptr<Encoder> open_encoder(const std::filesystem::path& model,
                                      const EncoderOptions& options, const Context& context) {
  if (options.backend == "openvino") return open_openvino_encoder(model, options, context);
  if (options.backend == "native") return open_native_encoder(model, options, context);
  if (options.backend != "torch")
    throw UsageError("--backend: '" + options.backend + "' is not one of torch, openvino, native");
  if (options.precision == "int8")
    throw UsageError("--precision int8 needs --backend openvino or native");
  const nn::Precision precision = nn::resolve_precision(options.precision, options.device);
  if (!precision.note.empty()) context.info(precision.note);
  auto clip = std::make_unique<ClipModel>(
      ClipModel::load(model, at::Device(options.device), precision.weights,
                      options.copy_weights ? TensorStorage::kCopied : TensorStorage::kMapped));
  clip->set_compute(precision.compute);
  if (!options.adapter.empty()) nn::load_lora(clip->linears(), options.adapter);
  ClipAssets assets = load_clip_assets(model, clip->config());
  return std::make_unique<TorchEncoder>(std::move(clip), nullptr, std::move(assets), options);
}

void EncoderOptions::visit(OptionList& list) {
  list.add("backend", backend, "what runs the model", {"torch", "openvino", "native"});
  list.add("precision", precision,
           "auto = int8 for a quantized folder (openvino, native), else bf16 where the hardware "
           "has it, else "
           "fp32",
           {"auto", "fp32", "bf16", "int8"});
  list.add("adapter", adapter, "PEFT LoRA folder applied to the model");
  list.add("batch-images", batch_images, "images per forward pass");
  list.add("batch-texts", batch_texts, "texts per forward pass");
  list.add("exact-decode", exact_decode, "decode JPEG at full size always");
  list.add("streams", streams, "openvino: batches side by side; 0 = one per thread");
  list.add("cache-dir", cache_dir, "openvino: folder that keeps compiled graphs; empty = none");
  list.add("decode-threads", decode_threads, "threads for decoding and tokenizing; 0 = all cores");
}

}  // namespace parapet

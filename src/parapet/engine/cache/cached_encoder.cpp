#include "parapet/engine/cache/cached_encoder.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/threads.h"
#include "parapet/engine/quantization/quantization.h"
#include "parapet/formats/image.h"
#include "parapet/formats/safetensors.h"
#include "parapet/models/model_folder.h"
#include "parapet/nn/checkpoint.h"
#include "parapet/nn/precision.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
constexpr const char* kTensor = "embeds";

class CachedEncoder final : public Encoder {
 public:
  CachedEncoder(std::unique_ptr<Encoder> inner, std::string key, fs::path folder)
      : inner_(std::move(inner)), key_(std::move(key)), folder_(std::move(folder)) {}

  int64_t dim() const override { return inner_->dim(); }
  double logit_scale() const override { return inner_->logit_scale(); }
  const EncodeStats& image_stats() const override { return inner_->image_stats(); }
  const EncodeStats& text_stats() const override { return inner_->text_stats(); }
  Image resized(const Image& image) const override { return inner_->resized(image); }
  int64_t decode_scale() const override { return inner_->decode_scale(); }
  bool thread_safe() const override { return inner_->thread_safe(); }
  int64_t lanes() const override { return inner_->lanes(); }
  std::string identity() const override { return inner_->identity(); }
  // Images in memory are not looked up: they have no bytes to go by.
  at::Tensor encode_images(std::span<const Image> images, const Context& context) override {
    return inner_->encode_images(images, context);
  }

  at::Tensor encode_images(const std::vector<std::string>& locations,
                           const Context& context) override {
    std::vector<std::string> hashes(locations.size());
    parallel_items(static_cast<int64_t>(locations.size()), 0, [&](int64_t i) {
      hashes[i] = sha256_hex(read_location(locations[i], int64_t{64} << 20));
    });
    return look_up("images", hashes, context,
                   [&] { return inner_->encode_images(locations, context); });
  }

  at::Tensor encode_texts(const std::vector<std::string>& texts, const Context& context) override {
    return look_up("texts", texts, context, [&] { return inner_->encode_texts(texts, context); });
  }

 private:
  at::Tensor look_up(const std::string& kind, const std::vector<std::string>& parts,
                     const Context& context, const std::function<at::Tensor()>& compute) {
    if (parts.empty()) return compute();
    Sha256 hash;
    hash.update(key_).update(kind);
    if (kind == "images") hash.update(kPixelsVersion);
    for (const auto& part : parts)
      hash.update(std::to_string(part.size())).update(":").update(part);
    const fs::path file = folder_ / (kind + "-" + hash.hex().substr(0, 32) + ".safetensors");
    if (fs::exists(file)) {
      context.log(LogLevel::kDebug, "embeddings of " + kind + ": " + file.string());
      return read(file, static_cast<int64_t>(parts.size()));
    }
    const at::Tensor embeds = compute();
    fs::create_directories(folder_);
    nn::save_tensors(file, {{kTensor, embeds}});
    return embeds;
  }

  at::Tensor read(const fs::path& file, int64_t rows) const {
    const TensorArchive archive = TensorArchive::open(file);
    const TensorView* view = archive.find(kTensor);
    if (view == nullptr || view->shape != std::vector<int64_t>{rows, dim()})
      throw DataError(file.string(), std::string("tensor '") + kTensor + "' does not fit",
                      "Delete the file; it is computed again.");
    return nn::to_tensor(*view);
  }

  std::unique_ptr<Encoder> inner_;
  std::string key_;
  fs::path folder_;
};

}  // namespace

std::string model_content_key(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() && defines_model(entry.path().filename().string()))
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  Sha256 hash;
  for (const auto& file : files) hash.update(file.filename().string()).update(sha256_file(file));
  return hash.hex();
}

std::string encoder_key(const fs::path& model, const EncoderOptions& options) {
  return encoder_key(model, model_content_key(model), options);
}

std::string encoder_key(const fs::path& model, const std::string& content_key,
                        const EncoderOptions& options) {
  std::string key = content_key + "/" + options.backend;
  if (!options.adapter.empty()) key += "/" + model_content_key(options.adapter);
  if (options.backend == "torch") {
    const nn::Precision precision = nn::resolve_precision(options.precision, options.device);
    key += std::string("/") + c10::toString(precision.weights) + "/" +
           c10::toString(precision.compute);
  } else {
    key += "/" + options.precision;
    const bool can_be_int8 = options.precision == "auto" || options.precision == "int8";
    if (can_be_int8 && has_quantization(model)) key += "/" + quantization_file_hash(model);
  }
  return options.exact_decode ? key + "/exact" : key;
}

std::unique_ptr<Encoder> cached_encoder(std::unique_ptr<Encoder> encoder, std::string key,
                                        const fs::path& folder) {
  if (folder.empty()) return encoder;
  return std::make_unique<CachedEncoder>(std::move(encoder), std::move(key), folder);
}

}  // namespace parapet

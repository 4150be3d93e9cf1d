#include "parapet/engine/cache/cached_encoder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <mutex>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/threads.h"
#include "parapet/engine/quantization/quantization.h"
#include "parapet/formats/image.h"
#include "parapet/models/model_folder.h"
#include "parapet/nn/precision.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
// Data sets of millions fit; a file that grows beyond it drops its oldest.
constexpr int64_t kMostRows = 10'000'000;

class CachedEncoder final : public Encoder {
 public:
  CachedEncoder(std::unique_ptr<Encoder> inner, std::string key, fs::path folder)
      : inner_(std::move(inner)), key_(std::move(key)), folder_(std::move(folder)) {}

  int64_t dim() const override { return inner_->dim(); }
  double logit_scale() const override { return inner_->logit_scale(); }
  Image resized(const Image& image) const override { return inner_->resized(image); }
  int64_t decode_scale() const override { return inner_->decode_scale(); }
  int64_t text_context() const override { return inner_->text_context(); }
  bool thread_safe() const override { return inner_->thread_safe(); }
  int64_t lanes() const override { return inner_->lanes(); }
  std::string identity() const override { return inner_->identity(); }
  // Images in memory are not looked up: they have no bytes to go by.
  at::Tensor encode_images(std::span<const Image> images, const Context& context,
                           EncodeStats* stats) override {
    return inner_->encode_images(images, context, stats);
  }

  at::Tensor encode_images(const std::vector<std::string>& locations, const Context& context,
                           EncodeStats* stats) override {
    const auto keys = parallel_map(
        static_cast<int64_t>(locations.size()), {.cancel = context.cancel}, [&](int64_t i) {
          return EmbeddingStore::key(
              "image", key_, read_location(locations[static_cast<size_t>(i)], int64_t{64} << 20));
        });
    return look_up(keys, locations, context, stats,
                   [&](const std::vector<std::string>& missing, EncodeStats* spent) {
                     return inner_->encode_images(missing, context, spent);
                   });
  }

  at::Tensor encode_texts(const std::vector<std::string>& texts, const Context& context,
                          EncodeStats* stats) override {
    std::vector<std::string> keys;
    for (const auto& text : texts) keys.push_back(EmbeddingStore::key("text", key_, text));
    return look_up(keys, texts, context, stats,
                   [&](const std::vector<std::string>& missing, EncodeStats* spent) {
                     return inner_->encode_texts(missing, context, spent);
                   });
  }

 private:
  using Compute = std::function<at::Tensor(const std::vector<std::string>& items, EncodeStats*)>;

  // Rows from the store; those that are missing are computed together and kept.
  at::Tensor look_up(const std::vector<std::string>& keys, const std::vector<std::string>& items,
                     const Context& context, EncodeStats* stats, const Compute& compute) {
    const auto started = std::chrono::steady_clock::now();
    EmbeddingStore& store = open(context);
    const int64_t width = dim();
    auto found = store.find_all(keys, width);
    std::vector<std::string> missing;
    for (size_t i = 0; i < items.size(); ++i)
      if (found[i].empty()) missing.push_back(items[i]);
    EncodeStats spent;
    at::Tensor computed;
    if (!missing.empty()) computed = compute(missing, &spent);
    const float* fresh = missing.empty() ? nullptr : computed.const_data_ptr<float>();
    at::Tensor out = at::empty({static_cast<int64_t>(items.size()), width}, at::kFloat);
    std::vector<EmbeddingStore::Row> rows;
    float* row = out.mutable_data_ptr<float>();
    for (size_t i = 0; i < items.size(); ++i, row += width) {
      if (!found[i].empty()) {
        std::copy_n(found[i].data(), width, row);
        continue;
      }
      std::copy_n(fresh, width, row);
      rows.emplace_back(keys[i], std::span(fresh, static_cast<size_t>(width)));
      fresh += width;
    }
    if (!rows.empty()) store.put(rows);
    spent.items = static_cast<int64_t>(items.size());
    spent.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    if (stats != nullptr) *stats = spent;
    return out;
  }

  // When it is first needed: making a folder is not the business of a model that is only opened.
  EmbeddingStore& open(const Context& context) {
    std::call_once(opened_, [&] { store_ = open_embedding_store(folder_, context); });
    return *store_;
  }

  std::unique_ptr<Encoder> inner_;
  std::string key_;
  fs::path folder_;
  std::once_flag opened_;
  std::unique_ptr<EmbeddingStore> store_;
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

std::unique_ptr<EmbeddingStore> open_embedding_store(const fs::path& folder,
                                                     const Context& context) {
  return std::make_unique<EmbeddingStore>(folder / EmbeddingStore::kFileName, kMostRows, context);
}

std::unique_ptr<Encoder> cached_encoder(std::unique_ptr<Encoder> encoder, std::string key,
                                        const fs::path& folder) {
  if (folder.empty()) return encoder;
  return std::make_unique<CachedEncoder>(std::move(encoder), std::move(key), folder);
}

}  // namespace parapet

#include "support/small_models.h"

#include "engine/tiny_clip.h"
#include "parapet/engine/cache/cached_encoder.h"
#include "parapet/engine/encoder/open_encoder.h"
#include "parapet/methods/guard_heads/head_net.h"
#include "support/item_encoder.h"

namespace parapet::test {
namespace {

std::vector<std::vector<float>> rows_of(const at::Tensor& embeddings) {
  std::vector<std::vector<float>> rows;
  const at::Tensor values = embeddings.contiguous();
  const float* data = values.const_data_ptr<float>();
  for (int64_t i = 0; i < values.size(0); ++i, data += values.size(1))
    rows.emplace_back(data, data + values.size(1));
  return rows;
}

class FaultyEncoder final : public ItemEncoder {
 public:
  explicit FaultyEncoder(std::shared_ptr<Faults> faults) : faults_(std::move(faults)) {}
  int64_t dim() const override { return 4; }
  double logit_scale() const override { return 100; }
  std::string identity() const override { return "faulty"; }
  int64_t text_context() const override { return 77; }
  at::Tensor encode_images(std::span<const Image> images, const Context& /*context*/,
                           EncodeStats* /*stats*/) override {
    faults_->images += static_cast<int>(images.size());
    return rows(std::vector<std::string>(images.size()));
  }

 private:
  at::Tensor rows(const std::vector<std::string>& items) override {
    faults_->wait();
    if (faults_->fail) throw std::runtime_error("the device is gone");
    return at::full({static_cast<int64_t>(items.size()), 4}, 0.5F);
  }
  std::shared_ptr<Faults> faults_;
};

}  // namespace

void Faults::hang() {
  const std::lock_guard lock(mutex_);
  hung_ = true;
}

void Faults::release() {
  const std::lock_guard lock(mutex_);
  hung_ = false;
  changed_.notify_all();
}

void Faults::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !hung_; });
}

std::shared_ptr<const SharedEncoder> faulty_encoder(const std::filesystem::path& folder,
                                                    const std::shared_ptr<Faults>& faults) {
  const auto shared = std::make_shared<SharedEncoder>();
  shared->tokenizer = Tokenizer::load(folder);
  shared->version = shared->model_key = "faulty";
  shared->batches = std::make_shared<BatchingEncoder>(
      std::make_shared<FaultyEncoder>(faults), BatchingOptions{.lanes = 1},
      std::make_shared<EmbeddingCache>(EmbeddingCacheOptions{}, Context{}));
  return shared;
}

void write_small_clip(const std::filesystem::path& folder, const SmallClip& shape) {
  write_tiny_clip(folder, {.layers = shape.layers, .positions = shape.positions});
}

std::string model_key(const std::filesystem::path& folder) { return model_content_key(folder); }

void write_small_heads(const std::filesystem::path& folder, GuardHeadsInfo info, int64_t dim,
                       int64_t hidden, uint64_t seed) {
  HeadNet net = HeadNet::random(dim, hidden, static_cast<int64_t>(info.categories.size()), seed);
  save_heads(folder, net, std::move(info));
}

std::vector<std::string> write_small_pictures(const std::filesystem::path& folder, int64_t count) {
  return write_pictures(folder, count);
}

SmallEmbeddings embed(const std::filesystem::path& model, const std::string& backend,
                      const std::vector<std::string>& texts,
                      const std::vector<std::string>& images) {
  const auto encoder = open_encoder(model, {.backend = backend, .precision = "fp32"}, Context{});
  SmallEmbeddings result;
  if (!texts.empty()) result.texts = rows_of(encoder->encode_texts(texts, {}));
  if (!images.empty()) result.images = rows_of(encoder->encode_images(images, {}));
  return result;
}

}  // namespace parapet::test

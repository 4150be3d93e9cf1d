#include "parapet/engine/encoder/model_store.h"

#include <ATen/core/Tensor.h>

#include <span>

#include "parapet/engine/cache/cached_encoder.h"
#include "parapet/engine/encoder/model_stamp.h"
#include "parapet/engine/encoder/open_encoder.h"
#include "parapet/engine/int8/native_encoder.h"

namespace parapet {
namespace {

// Every answer to a probe may come from the file of an earlier process, so that an encoder that
// cannot compute would pass for ready.
void compute_once(Encoder& encoder) {
  const Image grey{32, 32, std::vector<uint8_t>(32 * 32 * 3, 128)};
  encoder.encode_images(std::span(&grey, 1), Context{});
  encoder.encode_texts({"a photo"}, Context{});
}

}  // namespace

ModelStore::ModelStore(std::filesystem::path cache, const BatchingOptions& batching,
                       const EmbeddingCacheOptions& embeddings, const Context& context)
    : cache_(std::move(cache)),
      batching_(batching),
      outlives_process_(!embeddings.file.empty()),
      embeddings_(std::make_shared<EmbeddingCache>(embeddings, context)) {}

std::shared_ptr<const SharedEncoder> ModelStore::encoder(const EncoderRequest& request,
                                                         const Context& context) {
  EncoderOptions options;
  options.device = request.device;
  options.precision = request.precision;
  options.adapter = request.adapter.string();
  options.backend = request.backend != "auto" ? request.backend
                    : request.device == "cpu" ? fastest_cpu_backend(request.model, options)
                                              : "torch";
  options.threads = request.threads;
  options.copy_weights = true;
  options.cache_dir = cache_.string();
  const ModelStamp stamp({request.model, request.adapter});
  const std::string model_key = model_content_key(request.model);
  const std::string version = encoder_key(request.model, model_key, options);
  const std::lock_guard lock(mutex_);
  auto& slot = loaded_[version];
  if (auto shared = slot.lock()) return shared;
  auto made = std::make_shared<SharedEncoder>();
  made->version = version;
  made->model_key = model_key;
  made->tokenizer = Tokenizer::load(request.model);
  std::shared_ptr<Encoder> encoder = open_encoder(request.model, options, context);
  stamp.require_unchanged();
  if (outlives_process_) compute_once(*encoder);
  made->batches =
      std::make_shared<BatchingEncoder>(std::move(encoder), batching_, embeddings_, context);
  slot = made;
  note(made);
  return made;
}

void ModelStore::note(const std::shared_ptr<const SharedEncoder>& encoder) {
  const std::lock_guard lock(live_mutex_);
  std::erase_if(live_, [](const auto& one) { return one.expired(); });
  live_.push_back(encoder);
}

EncoderCounts ModelStore::counts() const {
  EncoderCounts counts;
  counts.cache = embeddings_->counts();
  std::vector<std::shared_ptr<const SharedEncoder>> encoders;  // let go after the lock
  const std::lock_guard lock(live_mutex_);
  for (const auto& one : live_) {
    encoders.push_back(one.lock());
    if (!encoders.back()) continue;
    const BatchingEncoder::Counts own = encoders.back()->batches->counts();
    counts.queue += own.queue;
    counts.items += own.items;
    counts.batches += own.batches;
    counts.refused += own.overloaded;
  }
  return counts;
}

}  // namespace parapet

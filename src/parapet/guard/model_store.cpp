#include "parapet/guard/model_store.h"

#include "parapet/engine/cached_encoder.h"
#include "parapet/engine/encoder.h"
#include "parapet/engine/native_encoder.h"

namespace parapet::guard {

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
  auto cache = std::make_shared<EmbeddingCache>(EmbeddingCacheOptions{}, context);
  made->batches =
      std::make_shared<BatchingEncoder>(std::move(encoder), BatchingOptions{}, std::move(cache));
  slot = made;
  return made;
}

}  // namespace parapet::guard

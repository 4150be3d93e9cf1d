// CLIP encoders shared by policies: a reload keeps the models that did not change.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/engine/encoder/batching_encoder.h"
#include "parapet/text/tokenizer.h"

namespace parapet {

struct EncoderRequest {
  std::filesystem::path model;
  std::filesystem::path adapter;  // PEFT folder; empty = none
  std::string backend = "auto";   // auto = native or openvino on the CPU, torch elsewhere
  std::string precision = "auto";
  std::string device = "cpu";
  int64_t threads = 0;
};

struct SharedEncoder {
  std::shared_ptr<BatchingEncoder> batches;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::string version;    // content of model, adapter, backend and precision
  std::string model_key;  // content of the model folder alone
};

// For /metrics: of all loaded encoders together, and of the embeddings that they share.
struct EncoderCounts {
  int64_t queue = 0;                            // images and texts that wait now
  int64_t items = 0, batches = 0, refused = 0;  // computed; in so many calls; queue full
  EmbeddingCache::Counts cache;
};

class ModelStore {
 public:
  // The least BatchingOptions::max_queue: a safe gallery is read so many items at once.
  static constexpr int64_t kLeastQueue = 128;

  // `cache` keeps compiled graphs between starts; empty = nothing is kept. `embeddings` are those
  // of all encoders together. DataError: their file cannot be used.
  explicit ModelStore(std::filesystem::path cache = {}, const BatchingOptions& batching = {},
                      const EmbeddingCacheOptions& embeddings = {}, const Context& context = {});
  // Loads, or returns what is loaded already and still the same on disk. Thread-safe. Nothing of
  // the folder is used once it is loaded.
  std::shared_ptr<const SharedEncoder> encoder(const EncoderRequest& request,
                                               const Context& context);
  // Thread-safe, and never waits for a model that is being loaded.
  EncoderCounts counts() const;

 private:
  void note(const std::shared_ptr<const SharedEncoder>& encoder);

  std::filesystem::path cache_;
  BatchingOptions batching_;
  bool outlives_process_;  // embeddings do
  std::shared_ptr<EmbeddingCache> embeddings_;
  std::mutex mutex_;  // held while a model is loaded
  std::map<std::string, std::weak_ptr<const SharedEncoder>> loaded_;  // by version
  mutable std::mutex live_mutex_;                                     // never held for long
  std::vector<std::weak_ptr<const SharedEncoder>> live_;              // the same, for counts()
};

}  // namespace parapet

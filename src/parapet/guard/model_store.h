// CLIP encoders shared by policies: a reload keeps the models that did not change.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "parapet/core/context.h"
#include "parapet/engine/batching_encoder.h"
#include "parapet/text/tokenizer.h"

namespace parapet::guard {

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

class ModelStore {
 public:
  // `cache` keeps compiled graphs between starts; empty = nothing is kept.
  explicit ModelStore(std::filesystem::path cache = {}) : cache_(std::move(cache)) {}
  // Loads, or returns what is loaded already and still the same on disk. Thread-safe. Nothing of
  // the folder is used once it is loaded.
  std::shared_ptr<const SharedEncoder> encoder(const EncoderRequest& request,
                                               const Context& context);

 private:
  std::filesystem::path cache_;
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<const SharedEncoder>> loaded_;  // by version
};

}  // namespace parapet::guard

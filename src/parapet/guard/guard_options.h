// How a guard is made, apart from its policy, and how it says whether it works.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "parapet/engine/cache/embedding_cache.h"
#include "parapet/engine/encoder/batching_encoder.h"
#include "parapet/guard/signal.h"

namespace parapet::guard {

struct GuardOptions {
  std::string device = "cpu";        // cpu | cuda[:n]
  int64_t threads = 0;               // of the encoder; 0 = all cores
  std::filesystem::path cache;       // keeps compiled graphs between starts; empty = none are kept
  BatchingOptions batching;          // of each encoder; max_queue >= ModelStore::kLeastQueue
  EmbeddingCacheOptions embeddings;  // shared by all encoders, kept over reloads
  // In addition to what the policy names. `fail_closed` of their failures is the policy's
  // [clip] fail.
  std::vector<std::shared_ptr<Signal>> signals;
  bool audit = true;  // false: the policy's audit log stays closed
};

struct Readiness {
  bool ready = false;
  std::vector<std::string> problems;  // "clip: ...", one per signal that did not answer
};

}  // namespace parapet::guard

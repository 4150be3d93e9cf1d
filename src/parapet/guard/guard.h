// The guard: a policy and its signals behind one call.
//
//   Guard guard(Policy::load("policies/balanced.toml"), {}, context);
//   Decision decision = guard.check({.parts = {Part::text("..."), Part::image(bytes)}});
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/engine/cache/embedding_cache.h"
#include "parapet/engine/encoder/batching_encoder.h"
#include "parapet/engine/encoder/model_store.h"
#include "parapet/guard/decision.h"
#include "parapet/guard/policy.h"
#include "parapet/guard/request.h"
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

class Guard {
 public:
  // Loads every model and list of the policy. UsageError or DataError names what is missing.
  Guard(Policy policy, GuardOptions options, const Context& context);
  ~Guard();
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

  // Thread-safe; never throws for content: what cannot be scanned is in the decision. UsageError
  // for a profile that does not exist.
  Decision check(const GuardRequest& request) const;

  // Loads everything the new policy names, then swaps: requests see the old or the new policy
  // whole. Models that did not change are kept. Throws as the constructor does; the old policy then
  // stays.
  void reload(Policy policy);

  // Asks every signal for an answer to a small probe.
  Readiness readiness() const;
  std::shared_ptr<const Policy> policy() const;
  std::vector<ModelVersion> models() const;
  int64_t audit_failures() const;  // decisions that could not be logged
  EncoderCounts encoder_counts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace parapet::guard

// The guard behind every API: loading, checks with deadlines and metrics, reloads, readiness.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/core/options.h"
#include "parapet/core/swapped.h"
#include "parapet/guard/guard.h"
#include "parapet/serving/dialects.h"
#include "parapet/serving/metrics.h"

namespace parapet::serving {

struct ServiceOptions {
  std::string policy;             // TOML file
  int64_t workers = 0;            // requests worked on at once; 0 = 4 per core, 4..64
  int64_t queue = 64;             // requests that may wait beside them
  double deadline_ms = 10'000;    // of a request; clients may ask for less
  int64_t max_parts = 256;        // of a request
  std::string api_keys;           // file of hashed keys; empty = none asked for
  double readiness_seconds = 15;  // between probes of the models
  bool access_log = false;        // a line per request; never content
  void visit(OptionList& list);
  void validate(Problems& problems) const;
  int64_t worker_count() const;
};

struct PolicyIdentity {
  std::string name, version, hash;
};

class GuardService {
 public:
  // Reads the policy. UsageError lists all its mistakes; no model is loaded yet.
  GuardService(const ServiceOptions& options, const guard::GuardOptions& guard_options,
               const Context& context);
  ~GuardService();
  GuardService(const GuardService&) = delete;
  GuardService& operator=(const GuardService&) = delete;

  // Loads every model and list, asks the models for an answer, then keeps asking now and then.
  // Throws what Guard's constructor throws. Until then check() answers 503.
  void load();
  bool loaded() const { return guard_.load() != nullptr; }

  // The guard and its policy, held for one request. ApiError 503 while loading.
  class Held {
   public:
    const guard::Policy& policy() const { return held_.policy(); }
    // ApiError 400 when the policy has no such profile.
    void require_profile(const guard::GuardRequest& request) const;

   private:
    friend class GuardService;
    std::shared_ptr<guard::Guard> guard_;
    guard::Guard::Held held_;
  };
  Held hold() const;

  // The decision, counted in the metrics. Thread-safe. ApiError 400 for a profile that does not
  // exist.
  guard::Decision answer(const Held& held, const std::string& endpoint, guard::GuardRequest request,
                         const RequestOptions& options, guard::Clock::time_point received);

  struct Reload {
    PolicyIdentity before, after;
  };
  // Reads the policy again and swaps it in. UsageError or DataError: it was refused, every mistake
  // is in the message (and in the log), and the old policy goes on.
  Reload reload();

  guard::Readiness readiness() const;  // of the last probe
  void begin_drain();                  // not ready from now on
  // Null until the first policy is loaded.
  std::shared_ptr<const guard::Policy> policy() const;
  std::vector<guard::ModelVersion> models() const;
  int64_t audit_failures() const;
  EncoderCounts encoder_counts() const;
  Metrics& metrics() { return metrics_; }
  const ServiceOptions& options() const { return options_; }
  const Context& context() const { return context_; }

 private:
  void probe();
  void watch();

  ServiceOptions options_;
  guard::GuardOptions guard_options_;
  Context context_;
  Metrics metrics_;
  std::unique_ptr<guard::Policy> first_policy_;  // until load()
  Swapped<guard::Guard> guard_;
  std::mutex reload_mutex_;
  mutable std::mutex mutex_;
  guard::Readiness readiness_;
  std::condition_variable wake_;
  bool stopped_ = false;
  std::atomic<bool> draining_{false};
  std::thread watcher_;
};

}  // namespace parapet::serving

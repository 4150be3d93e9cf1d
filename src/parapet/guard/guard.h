// The guard: a policy and its signals behind one call.
//
//   Guard guard(Policy::load("policies/balanced.toml"), {}, context);
//   Decision decision = guard.check({.parts = {Part::text("..."), Part::image(bytes)}});
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/engine/encoder/model_store.h"
#include "parapet/guard/decision.h"
#include "parapet/guard/guard_options.h"
#include "parapet/guard/policy.h"
#include "parapet/guard/request.h"

namespace parapet::guard {

class Guard {
 public:
  // A policy with all it names, held for one request: whatever is asked of it, a reload in between
  // changes nothing. Must not outlive the guard.
  class Held {
   public:
    const Policy& policy() const;
    const std::vector<ModelVersion>& models() const;
    // As Guard::check.
    Decision check(const GuardRequest& request) const;

   private:
    friend class Guard;
    struct State;
    const Guard* guard_ = nullptr;
    std::shared_ptr<const State> state_;
  };
  Held hold() const;

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

  // Asks every signal for an answer to a small probe, and gives each this long.
  Readiness readiness(std::chrono::milliseconds patience = std::chrono::seconds(30)) const;
  std::shared_ptr<const Policy> policy() const;
  std::vector<ModelVersion> models() const;
  int64_t audit_failures() const;  // decisions that could not be logged
  EncoderCounts encoder_counts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace parapet::guard

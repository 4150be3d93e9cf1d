#include "parapet/serving/guard_service.h"

#include <algorithm>

#include "parapet/core/error.h"
#include "parapet/serving/api_error.h"

namespace parapet::serving {
namespace {

using Milliseconds = std::chrono::duration<double, std::milli>;

double seconds_since(guard::Clock::time_point start) {
  return std::chrono::duration<double>(guard::Clock::now() - start).count();
}

PolicyIdentity identity(const guard::Policy& policy) {
  return {policy.name, policy.version, policy.hash};
}

}  // namespace

void ServiceOptions::visit(OptionList& list) {
  list.require("policy", policy, "policy file (TOML; docs/policy.md)");
  list.add("workers", workers, "requests worked on at once; 0 = 4 per core, 4 to 64");
  list.add("queue", queue, "requests that may wait beside them; more are answered 429");
  list.add("deadline-ms", deadline_ms,
           "of a request: what is not scanned by then counts as not scanned; 0 = none");
  list.add(
      "max-parts", max_parts,
      "texts and images of one request; more are answered 400, but of LiteLLM's conversations the "
      "newest are looked at");
  list.add("api-keys", api_keys,
           "file with lines of NAME SHA256 [TENANT]; without it no key is "
           "asked for");
  list.add("readiness-seconds", readiness_seconds, "between two probes of the models");
  list.add("access-log", access_log, "log a line per request (no content)");
}

void ServiceOptions::validate(Problems& problems) const {
  problems.require(workers >= 0 && workers <= 1024, "--workers", "must be in 0..1024");
  problems.require(queue >= 0 && queue <= 1'000'000, "--queue", "must be in 0..1000000");
  problems.require(deadline_ms >= 0 && deadline_ms <= 600'000, "--deadline-ms",
                   "must be in 0..600000");
  problems.require(max_parts >= 1 && max_parts <= 10'000, "--max-parts", "must be in 1..10000");
  problems.require(readiness_seconds >= 0.05 && readiness_seconds <= 3600, "--readiness-seconds",
                   "must be in 0.05..3600");
}

int64_t ServiceOptions::worker_count() const {
  if (workers > 0) return workers;
  return std::clamp<int64_t>(4 * std::thread::hardware_concurrency(), 4, 64);
}

GuardService::GuardService(const ServiceOptions& options, const guard::GuardOptions& guard_options,
                           const Context& context)
    : options_(options), guard_options_(guard_options), context_(context) {
  first_policy_ = std::make_unique<guard::Policy>(guard::Policy::load(options_.policy));
  readiness_.problems = {"models are being loaded"};
}

GuardService::~GuardService() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  wake_.notify_all();
  if (watcher_.joinable()) watcher_.join();
}

void GuardService::load() {
  guard_.store(std::make_shared<guard::Guard>(std::move(*first_policy_), guard_options_, context_));
  first_policy_.reset();
  probe();
  watcher_ = std::thread([this] { watch(); });
}

void GuardService::probe() {
  const auto guard = guard_.load();
  guard::Readiness result;
  try {
    result = guard->readiness();
  } catch (const std::exception& error) {
    result.problems = {error.what()};
  }
  const std::lock_guard lock(mutex_);
  if (result.ready != readiness_.ready) {
    std::string line = result.ready ? "ready" : "not ready";
    for (const auto& problem : result.problems) line += ": " + problem;
    context_.log(result.ready ? LogLevel::kInfo : LogLevel::kError, line);
  }
  readiness_ = std::move(result);
}

void GuardService::watch() {
  std::unique_lock lock(mutex_);
  const auto pause = std::chrono::duration<double>(options_.readiness_seconds);
  while (!wake_.wait_for(lock, pause, [this] { return stopped_; })) {
    lock.unlock();
    probe();
    lock.lock();
  }
}

GuardService::Held GuardService::hold() const {
  Held held;
  held.guard_ = guard_.load();
  if (!held.guard_) throw ApiError(503, "not_ready", "the models are being loaded; try again");
  held.held_ = held.guard_->hold();
  return held;
}

void GuardService::Held::require_profile(const guard::GuardRequest& request) const {
  try {
    policy().resolve_profile(request.profile, request.tenant);
  } catch (const UsageError& error) {
    throw ApiError(400, "invalid_value", error.what(), "profile");
  }
}

guard::Decision GuardService::answer(const Held& held, const std::string& endpoint,
                                     guard::GuardRequest request, const RequestOptions& options,
                                     guard::Clock::time_point received) {
  held.require_profile(request);
  double budget = options_.deadline_ms;
  if (options.deadline_ms && (budget == 0 || *options.deadline_ms < budget))
    budget = *options.deadline_ms;
  if (budget > 0)
    request.deadline =
        received + std::chrono::duration_cast<guard::Clock::duration>(Milliseconds(budget));
  const auto start = guard::Clock::now();
  guard::Decision decision = held.held_.check(request);
  metrics_.stage("guard", seconds_since(start));
  metrics_.decision(endpoint, decision);
  return decision;
}

GuardService::Reload GuardService::reload() {
  const std::lock_guard lock(reload_mutex_);
  const auto guard = guard_.load();
  if (!guard) throw ApiError(503, "not_ready", "the models are being loaded; try again");
  Reload result;
  result.before = identity(*guard->policy());
  try {
    guard->reload(guard::Policy::load(options_.policy));
  } catch (const std::exception& error) {
    metrics_.reload(false);
    context_.log(LogLevel::kError,
                 "policy refused, " + result.before.hash + " stays: " + error.what());
    throw;
  }
  result.after = identity(*guard->policy());
  metrics_.reload(true);
  context_.info("policy " + result.after.name + " " + result.after.version + " (" +
                result.after.hash + ") in place of " + result.before.hash);
  probe();
  return result;
}

guard::Readiness GuardService::readiness() const {
  if (draining_) return {false, {"shutting down"}};
  const std::lock_guard lock(mutex_);
  return readiness_;
}

void GuardService::begin_drain() { draining_ = true; }

std::shared_ptr<const guard::Policy> GuardService::policy() const {
  const auto guard = guard_.load();
  return guard ? guard->policy() : nullptr;
}

std::vector<guard::ModelVersion> GuardService::models() const {
  const auto guard = guard_.load();
  return guard ? guard->models() : std::vector<guard::ModelVersion>{};
}

int64_t GuardService::audit_failures() const {
  const auto guard = guard_.load();
  return guard ? guard->audit_failures() : 0;
}

EncoderCounts GuardService::encoder_counts() const {
  const auto guard = guard_.load();
  return guard ? guard->encoder_counts() : EncoderCounts{};
}

}  // namespace parapet::serving

#include "parapet/guard/guard.h"

#include <atomic>
#include <mutex>
#include <random>

#include "parapet/core/error.h"
#include "parapet/core/swapped.h"
#include "parapet/guard/audit_log.h"
#include "parapet/guard/pipeline.h"

namespace parapet::guard {
namespace {

// Unique across restarts; nothing secret about it.
std::string make_id() {
  static const uint64_t start = [] {
    std::random_device device;
    return static_cast<uint64_t>(device()) << 32 | device();
  }();
  static std::atomic<uint64_t> counter{0};
  char text[64];
  std::snprintf(text, sizeof text, "grd-%016llx%08llx", static_cast<unsigned long long>(start),
                static_cast<unsigned long long>(counter.fetch_add(1)));
  return text;
}

std::shared_ptr<AuditLog> open_audit(const Policy& policy, const GuardOptions& options) {
  if (!options.audit || policy.audit.file.empty()) return nullptr;
  AuditLogOptions log;
  log.content = policy.audit.content;
  log.metadata = policy.audit.metadata;
  log.max_rows = policy.audit.max_rows;
  return std::make_shared<AuditLog>(policy.audit.file, log);
}

}  // namespace

// What a request takes hold of, whole.
struct Guard::Held::State {
  std::unique_ptr<const Pipeline> pipeline;
  std::shared_ptr<AuditLog> audit;
};

struct Guard::Impl {
  using State = Held::State;
  Impl(GuardOptions given, const Context& where)
      : options(std::move(given)),
        context(where),
        models(options.cache, options.batching, options.embeddings, context) {}
  GuardOptions options;
  Context context;
  ModelStore models;
  std::mutex reloading;
  Swapped<const State> state;
  std::atomic<int64_t> audit_failures{0};
  std::atomic<bool> audit_broken{false};

  void log(const State& now, const GuardRequest& request, Decision& decision);
};

Guard::Guard(Policy policy, GuardOptions options, const Context& context)
    : impl_(std::make_unique<Impl>(std::move(options), context)) {
  reload(std::move(policy));
}

Guard::~Guard() = default;

void Guard::reload(Policy policy) {
  const std::lock_guard reloading(impl_->reloading);
  const auto before = impl_->state.load();
  const auto next = std::make_shared<Held::State>();
  const auto same_log = [&] {
    const AuditOptions& old = before->pipeline->policy().audit;
    return before->audit && old.file == policy.audit.file && old.content == policy.audit.content &&
           old.metadata == policy.audit.metadata && old.max_rows == policy.audit.max_rows;
  };
  next->audit = before && same_log() ? before->audit : open_audit(policy, impl_->options);
  next->pipeline = std::make_unique<const Pipeline>(std::move(policy), impl_->options,
                                                    impl_->models, impl_->context);
  impl_->state.store(next);
}

void Guard::Impl::log(const State& now, const GuardRequest& request, Decision& decision) {
  if (!now.audit) return;
  try {
    now.audit->append(request, decision);
    audit_broken = false;
  } catch (const std::exception& error) {
    ++audit_failures;
    if (!audit_broken.exchange(true)) context.log(LogLevel::kError, error.what());
    const Policy& policy = now.pipeline->policy();
    ScanFailure failure;
    failure.level = "audit";
    failure.reason = "audit_failed";
    failure.detail = error.what();
    failure.shadow_action = policy.audit.fail == FailMode::kClosed ? Action::kBlock
                            : policy.audit.fail == FailMode::kFlag ? Action::kFlag
                                                                   : Action::kAllow;
    failure.action = policy.mode == Mode::kShadow ? Action::kAllow : failure.shadow_action;
    decision.action = std::max(decision.action, failure.action);
    decision.shadow_action = std::max(decision.shadow_action, failure.shadow_action);
    if (failure.action == Action::kBlock) {
      decision.modified.clear();
      decision.reason += "; blocked: the audit log cannot be written";
    }
    decision.not_scanned.push_back(std::move(failure));
  }
}

Guard::Held Guard::hold() const {
  Held held;
  held.guard_ = this;
  held.state_ = impl_->state.load();
  return held;
}

const Policy& Guard::Held::policy() const { return state_->pipeline->policy(); }

const std::vector<ModelVersion>& Guard::Held::models() const { return state_->pipeline->models(); }

Decision Guard::Held::check(const GuardRequest& request) const {
  const auto start = Clock::now();
  Decision decision = state_->pipeline->decide(request);
  decision.id = request.id.empty() ? make_id() : request.id;
  const std::chrono::duration<double, std::milli> spent = Clock::now() - start;
  decision.milliseconds = spent.count();
  guard_->impl_->log(*state_, request, decision);
  return decision;
}

Decision Guard::check(const GuardRequest& request) const { return hold().check(request); }

Readiness Guard::readiness(std::chrono::milliseconds patience) const {
  return impl_->state.load()->pipeline->readiness(patience);
}

std::shared_ptr<const Policy> Guard::policy() const {
  const auto state = impl_->state.load();
  return {state, &state->pipeline->policy()};
}

std::vector<ModelVersion> Guard::models() const { return hold().models(); }

int64_t Guard::audit_failures() const { return impl_->audit_failures; }

EncoderCounts Guard::encoder_counts() const { return impl_->models.counts(); }

}  // namespace parapet::guard

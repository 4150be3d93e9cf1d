// parapet serve: the guard behind HTTP.
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <ctime>
#include <exception>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "parapet/cli/command.h"
#include "parapet/cli/embedding_cache_flags.h"
#include "parapet/cli/guard_support.h"
#include "parapet/core/error.h"
#include "parapet/core/memory.h"
#include "parapet/core/strings.h"
#include "parapet/serving/guard_service.h"
#include "parapet/serving/http_server.h"
#include "parapet/serving/router.h"

namespace parapet::cli {
namespace {

// How often freed memory goes back to the system.
constexpr std::chrono::seconds kTidyEvery(10);

// Signals as events: blocked in every thread, taken in one place.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set_, signal);
    pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  ~Signals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  // 0 when none came within the time.
  int wait(double seconds) const {
    timespec time{};
    time.tv_sec = static_cast<time_t>(seconds);
    time.tv_nsec = static_cast<long>((seconds - static_cast<double>(time.tv_sec)) * 1e9);
    return std::max(0, sigtimedwait(&set_, nullptr, &time));
  }

 private:
  sigset_t set_{}, before_{};
};

// Each connection is a file descriptor.
void raise_file_limit(int64_t connections, const Context& context) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const auto wanted = static_cast<rlim_t>(connections + 256);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < wanted)
    context.warn("only " + std::to_string(limit.rlim_cur) + " files may be open: fewer than " +
                 std::to_string(connections) + " connections will be held");
}

class Serve final : public Command {
 public:
  void visit(OptionList& list) override {
    service_.visit(list);
    http_.visit(list);
    list.add("drain-seconds", drain_seconds_, "time for requests under way after SIGTERM");
    list.add("allow-anyone", allow_anyone_,
             "listen beyond this machine without API keys (behind a proxy that asks for them)");
    list.add("model-cache", model_cache_, kModelCacheHelp);
    batching_.visit(list);
    embeddings_.visit(list);
    list.add("check-only", check_only_, "load and probe everything, then stop: 0 when ready");
  }

  void validate(Problems& problems) const override {
    service_.validate(problems);
    http_.validate(problems);
    problems.require(drain_seconds_ >= 0 && drain_seconds_ <= 3600, "--drain-seconds",
                     "must be in 0..3600");
    batching_.validate(problems);
    constexpr int64_t kLeast = ModelStore::kLeastQueue;
    problems.require(batching_.max_queue < 1 || batching_.max_queue >= kLeast, "--max-queue",
                     "must be at least " + std::to_string(kLeast) +
                         ": a policy's safe gallery is read so many at once");
    embeddings_.validate(problems);
  }

  nlohmann::json run(const Session& session) override {
    const Signals signals;          // before any thread starts
    std::signal(SIGXFSZ, SIG_IGN);  // a log at a file size limit is a failed write, no more
    const auto address = serving::parse_listen(http_.listen);
    if (!address.loopback && service_.api_keys.empty() && !allow_anyone_)
      throw UsageError("--listen " + http_.listen +
                       " can be reached from other machines and no API key is asked for; give "
                       "--api-keys, or --allow-anyone behind a proxy that asks for them");
    raise_file_limit(http_.max_connections, session.context);
    guard::GuardOptions guard_options;
    guard_options.device = session.common.device;
    guard_options.threads = session.common.threads;
    guard_options.cache = model_cache(model_cache_);
    guard_options.batching = batching_;
    guard_options.embeddings = embeddings_.options();
    serving::GuardService service(service_, guard_options, session.context);
    if (check_only_) return check(service);
    serving::Router router(service);
    serving::HttpServer server(http_, router, session.context);
    router.set_server(&server);
    server.start();
    session.context.info("listening on " + server.url() + ", loading models");
    const nlohmann::json result = serve(session, signals, service, router, server);
    router.stop();  // workers end before the server that they answer through
    return result;
  }

 private:
  nlohmann::json check(serving::GuardService& service) {
    service.load();
    const auto readiness = service.readiness();
    if (!readiness.ready) throw CheckFailed("not ready: " + join(readiness.problems, "; "));
    return {{"ready", true}, {"policy", service.policy()->hash}};
  }

  nlohmann::json serve(const Session& session, const Signals& signals,
                       serving::GuardService& service, serving::Router& router,
                       serving::HttpServer& server) {
    // Health answers while models load; so does a signal to stop.
    std::exception_ptr failure;
    std::atomic<bool> finished{false};
    std::thread loader([&] {
      try {
        service.load();
      } catch (...) {
        failure = std::current_exception();
      }
      finished = true;
    });
    bool stop = false;
    auto tidied = std::chrono::steady_clock::now();
    while (!stop && !(finished && failure)) {
      const int signal = signals.wait(finished ? 1 : 0.05);
      // Threads of libraries older than `signals` may have taken it instead.
      stop = signal == SIGTERM || signal == SIGINT || session.context.cancelled();
      if (signal == SIGHUP) reload(session, service, router);
      // Buffers of all sizes come and go on many threads: what is free would grow for hours.
      if (std::chrono::steady_clock::now() - tidied < kTidyEvery) continue;
      return_freed_memory();
      tidied = std::chrono::steady_clock::now();
    }
    session.context.info("stopping: no new requests, " + format_number(drain_seconds_, 0) +
                         " s for those under way");
    service.begin_drain();
    router.begin_drain();
    const bool drained = server.drain(failure ? 0 : drain_seconds_);
    loader.join();
    if (failure) std::rethrow_exception(failure);
    if (!drained) session.context.warn("some requests were cut off");
    return {{"url", server.url()}, {"drained", drained}};
  }

  // What is wrong was logged; what was in force goes on.
  void reload(const Session& session, serving::GuardService& service, serving::Router& router) {
    try {
      router.reload_keys();
    } catch (const std::exception& error) {
      session.context.log(LogLevel::kError,
                          std::string("API keys refused, the old ones stay: ") + error.what());
    }
    if (!service.loaded()) return session.context.warn("SIGHUP ignored: models are being loaded");
    try {
      service.reload();
    } catch (const std::exception&) {
    }
  }

  serving::ServiceOptions service_;
  serving::HttpOptions http_;
  BatchingOptions batching_;
  EmbeddingCacheFlags embeddings_;
  double drain_seconds_ = 30;
  bool allow_anyone_ = false, check_only_ = false;
  std::string model_cache_ = "auto";
};

}  // namespace

CommandEntry serve_command() {
  return {
      "serve", "the guard behind HTTP: OpenAI's moderation API, LiteLLM's, and its own",
      "Answers POST /v1/moderations (OpenAI's shapes), POST /beta/litellm_basic_guardrail_api, "
      "POST /v1/guard (the whole decision), POST /v1/policy/reload, and GET /healthz, /readyz, "
      "/metrics, /openapi.json and / (a page to try it).\n\n"
      "It listens before the models are loaded: /healthz answers at once, /readyz when every "
      "model answered a probe. SIGHUP reads the policy and the API keys again; a bad policy is "
      "refused with every mistake in the log, and the old one stays. SIGTERM finishes what is "
      "under way. Logs go to stderr, never content. Speaks plain HTTP: put TLS in front.\n\n"
      "Images and texts of all requests share one encoder: --max-batch, --max-wait-ms and "
      "--max-queue shape its batches, --embedding-cache-mb and -file what it need not compute "
      "again. /metrics shows what they do.\n\n"
      "API keys: one line per key, NAME and the SHA-256 of the key, e.g. from\n"
      "  key=$(openssl rand -hex 24); echo \"alice $(printf %s $key | sha256sum | cut -c1-64)\" "
      ">> keys.txt\n\n"
      "Examples:\n"
      "  parapet serve --policy policies/balanced.toml\n"
      "  parapet serve --policy p.toml --listen 0.0.0.0:8080 --api-keys keys.txt\n"
      "  curl -s localhost:8080/v1/moderations -H 'Content-Type: application/json' "
      "-d '{\"input\": \"some text\"}'",
      [] { return std::make_unique<Serve>(); }};
}

}  // namespace parapet::cli

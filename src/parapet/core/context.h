// What a long-running call may report to and be stopped by. The library itself never prints: the
// command line injects sinks that do.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace parapet {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// One unit of long work shown to a user. Calls come from one thread.
class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  // `total` 0 = unknown; `unit` is plural, e.g. "images".
  virtual void begin(std::string_view name, int64_t total, std::string_view unit) = 0;
  // `done` so far; `note` is short free text such as "loss 0.12".
  virtual void update(int64_t done, std::string_view note) = 0;
  virtual void end() = 0;
};

// Cheap to copy; every member may be empty.
struct Context {
  std::function<void(LogLevel, std::string_view)> log_sink;
  std::shared_ptr<ProgressSink> progress;
  const std::atomic<bool>* cancel = nullptr;  // set by Ctrl-C

  void log(LogLevel level, std::string_view message) const {
    if (log_sink) log_sink(level, message);
  }
  void info(std::string_view message) const { log(LogLevel::kInfo, message); }
  void warn(std::string_view message) const { log(LogLevel::kWarning, message); }
  bool cancelled() const { return cancel != nullptr && cancel->load(std::memory_order_relaxed); }
};

// Scope of one progress bar; does nothing when the context has no sink.
class Progress {
 public:
  Progress(const Context& context, std::string_view name, int64_t total, std::string_view unit)
      : sink_(context.progress) {
    if (sink_) sink_->begin(name, total, unit);
  }
  ~Progress() {
    if (sink_) sink_->end();
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void update(int64_t done, std::string_view note = "") {
    if (sink_) sink_->update(done, note);
  }

 private:
  std::shared_ptr<ProgressSink> sink_;
};

}  // namespace parapet

#include "parapet/cli/terminal.h"

#include <ATen/Parallel.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <string>

#include "parapet/core/strings.h"

namespace parapet::cli {
namespace {

using Clock = std::chrono::steady_clock;

std::string duration(double seconds) {
  const auto total = static_cast<long>(seconds + 0.5);
  char text[32];
  if (total >= 3600)
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", total / 3600, total / 60 % 60, total % 60);
  else
    std::snprintf(text, sizeof text, "%ld:%02ld", total / 60, total % 60);
  return text;
}

size_t terminal_width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

// The one writer of stderr: a log line must not land inside a progress bar.
class Terminal final : public ProgressSink {
 public:
  explicit Terminal(bool bars) : bars_(bars) {}

  void log(const std::string& line) {
    const std::lock_guard lock(mutex_);
    if (active_) std::fputs("\r\033[K", stderr);
    std::fprintf(stderr, "%s\n", line.c_str());
    if (active_) draw();
  }

  void begin(std::string_view name, int64_t total, std::string_view unit) override {
    const std::lock_guard lock(mutex_);
    if (active_) std::fputc('\n', stderr);  // an outer bar stays above the inner one
    name_ = name;
    unit_ = unit;
    note_.clear();
    total_ = total;
    done_ = 0;
    start_ = Clock::now();
    active_ = bars_;
    if (active_) draw();
  }

  void update(int64_t done, std::string_view note) override {
    const std::lock_guard lock(mutex_);
    done_ = done;
    note_ = note;
    if (active_ && Clock::now() - last_ >= std::chrono::milliseconds(100)) draw();
  }

  void end() override {
    const std::lock_guard lock(mutex_);
    if (!active_) return;
    draw();
    std::fputc('\n', stderr);
    active_ = false;
  }

 private:
  void draw() {
    last_ = Clock::now();
    const double seconds = std::chrono::duration<double>(last_ - start_).count();
    const double rate = seconds > 0 ? static_cast<double>(done_) / seconds : 0;
    std::string line = name_ + " " + std::to_string(done_);
    if (total_ > 0) {
      constexpr int64_t kWidth = 20;
      const int64_t part = std::clamp<int64_t>(done_, 0, total_);
      const auto filled =
          static_cast<size_t>(static_cast<double>(part) * kWidth / static_cast<double>(total_));
      line = name_ + " [" + std::string(filled, '#') + std::string(kWidth - filled, '.') + "] " +
             std::to_string(done_) + "/" + std::to_string(total_);
    }
    line += " " + unit_ + " " + format_number(rate, rate < 10 ? 2 : 0) + "/s";
    if (total_ > done_ && rate > 0)
      line += " ETA " + duration(static_cast<double>(total_ - done_) / rate);
    else
      line += " " + duration(seconds);
    if (!note_.empty()) line += "  " + note_;
    // A wrapped line could not be overwritten by the next one.
    if (line.size() >= terminal_width()) line.resize(terminal_width() - 1);
    line = "\r" + line + "\033[K";
    std::fwrite(line.data(), 1, line.size(), stderr);
    std::fflush(stderr);
  }

  const bool bars_;
  std::mutex mutex_;
  bool active_ = false;
  std::string name_, unit_, note_;
  int64_t total_ = 0, done_ = 0;
  Clock::time_point start_, last_;
};

}  // namespace

Context terminal_context(bool quiet) {
  const bool bars = !quiet && ::isatty(STDERR_FILENO) == 1;
  auto terminal = std::make_shared<Terminal>(bars);
  Context context;
  context.log_sink = [quiet, terminal](LogLevel level, std::string_view message) {
    if (level == LogLevel::kDebug || (quiet && level == LogLevel::kInfo)) return;
    const char* prefix = level == LogLevel::kWarning ? "warning: "
                         : level == LogLevel::kError ? "error: "
                                                     : "";
    terminal->log(prefix + std::string(message));
  };
  if (bars) context.progress = terminal;
  return context;
}

void apply_threads(int64_t threads) {
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
}

}  // namespace parapet::cli

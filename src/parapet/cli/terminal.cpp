#include "parapet/cli/terminal.h"

#include <ATen/Parallel.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "parapet/core/strings.h"

namespace parapet::cli {
namespace {

using Clock = std::chrono::steady_clock;

std::string duration(double seconds) {
  const auto total = static_cast<int64_t>(seconds + 0.5);
  char text[32];
  if (total >= 3600)
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", static_cast<long>(total / 3600),
                  static_cast<long>(total / 60 % 60), static_cast<long>(total % 60));
  else
    std::snprintf(text, sizeof text, "%ld:%02ld", static_cast<long>(total / 60),
                  static_cast<long>(total % 60));
  return text;
}

class TerminalProgress final : public ProgressSink {
 public:
  void begin(std::string_view name, int64_t total, std::string_view unit) override {
    name_ = name;
    unit_ = unit;
    total_ = total;
    start_ = Clock::now();
    last_ = {};
    draw(0, "");
  }
  void update(int64_t done, std::string_view note) override {
    done_ = done;
    note_ = note;
    if (Clock::now() - last_ >= std::chrono::milliseconds(100)) draw(done, note);
  }
  void end() override {
    draw(done_, note_);
    std::fputc('\n', stderr);
  }

 private:
  void draw(int64_t done, std::string_view note) {
    last_ = Clock::now();
    const double seconds = std::chrono::duration<double>(last_ - start_).count();
    const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
    std::string line = "\r" + name_ + " " + std::to_string(done);
    if (total_ > 0) {
      constexpr int kWidth = 20;
      const int filled = static_cast<int>(std::min(done, total_) * kWidth / total_);
      line = "\r" + name_ + " [" + std::string(filled, '#') + std::string(kWidth - filled, '.') +
             "] " + std::to_string(done) + "/" + std::to_string(total_);
    }
    line += " " + unit_ + " " + format_number(rate, rate < 10 ? 2 : 0) + "/s";
    if (total_ > done && rate > 0)
      line += " ETA " + duration(static_cast<double>(total_ - done) / rate);
    else
      line += " " + duration(seconds);
    if (!note.empty()) line += "  " + std::string(note);
    line += "\033[K";
    std::fwrite(line.data(), 1, line.size(), stderr);
    std::fflush(stderr);
  }

  std::string name_, unit_, note_;
  int64_t total_ = 0, done_ = 0;
  Clock::time_point start_, last_;
};

}  // namespace

Context terminal_context(bool quiet) {
  Context context;
  context.log_sink = [quiet](LogLevel level, std::string_view message) {
    if (level == LogLevel::kDebug || (quiet && level == LogLevel::kInfo)) return;
    const char* prefix = level == LogLevel::kWarning ? "warning: "
                         : level == LogLevel::kError ? "error: "
                                                     : "";
    std::fprintf(stderr, "%s%.*s\n", prefix, static_cast<int>(message.size()), message.data());
  };
  if (!quiet && ::isatty(STDERR_FILENO)) context.progress = std::make_shared<TerminalProgress>();
  return context;
}

void apply_threads(int64_t threads) {
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
}

}  // namespace parapet::cli

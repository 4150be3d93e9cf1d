#include "parapet/formats/media_log.h"

extern "C" {
#include <libavutil/log.h>
}

#include <cstdarg>
#include <mutex>

namespace parapet::media_detail {
namespace {

thread_local FfmpegLog* current = nullptr;

void on_message(void* about, int level, const char* format, va_list arguments) {
  if (level > AV_LOG_INFO || current == nullptr) return;
  char line[512];
  int with_prefix = 1;
  av_log_format_line2(about, level, format, arguments, line, sizeof line, &with_prefix);
  try {
    current->add(level, line);
  } catch (...) {
    // A message is not worth an exception through C code.
  }
}

}  // namespace

FfmpegLog::FfmpegLog(const Context& context) : context_(context), outer_(current) {
  static std::once_flag once;
  std::call_once(once, [] { av_log_set_callback(on_message); });
  current = this;
}

FfmpegLog::~FfmpegLog() { current = outer_; }

void FfmpegLog::add(int level, std::string line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r' || line.back() == ' '))
    line.pop_back();
  if (line.empty()) return;
  // "[mov,mp4 @ 0x55...] moov atom not found": what stands behind the bracket is for people.
  if (line.front() == '[' && line.find("] ") != std::string::npos)
    line.erase(0, line.find("] ") + 2);
  if (level <= AV_LOG_ERROR) last_error_ = line;
  if (lines_ > kMaxLines) return;
  if (++lines_ > kMaxLines) line = "more messages about this file are left out";
  context_.log(LogLevel::kDebug, "FFmpeg: " + line);
}

}  // namespace parapet::media_detail

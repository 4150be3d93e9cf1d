// FFmpeg's own messages: never on the terminal, but in the context's log at debug level.
#pragma once
#include <string>

#include "parapet/core/context.h"

namespace parapet::media_detail {

// While it lives, what FFmpeg says on this thread goes to `context`; what it says on other threads
// goes nowhere. The first one made in a process replaces FFmpeg's log callback for good.
class FfmpegLog {
 public:
  explicit FfmpegLog(const Context& context);
  ~FfmpegLog();
  FfmpegLog(const FfmpegLog&) = delete;
  FfmpegLog& operator=(const FfmpegLog&) = delete;
  // The newest message of FFmpeg that told of an error, without its line end; empty when there was
  // none.
  const std::string& last_error() const { return last_error_; }
  void add(int level, std::string line);

 private:
  static constexpr int kMaxLines = 100;  // a damaged file has something to say about every packet
  const Context& context_;
  FfmpegLog* outer_;
  int lines_ = 0;
  std::string last_error_;
};

}  // namespace parapet::media_detail

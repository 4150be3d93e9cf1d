// Typed errors. Each names the failing input and what to do about it; the command line and the
// server translate them once, at the edge, into exit codes or HTTP replies.
#pragma once
#include <stdexcept>
#include <string>
#include <string_view>

namespace parapet {

enum class ErrorKind {
  kInternal,     // a bug of ours or of a library below us: exit 1
  kUsage,        // bad flags, recipe or configuration: exit 2
  kData,         // bad input data: file, offset or field named: exit 3
  kCheckFailed,  // a gate did not hold: exit 4
  kCancelled,    // stopped by the user after saving: exit 130
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }
  // 1, 2, 3, 4 or 130; see ErrorKind.
  int exit_code() const;

 private:
  ErrorKind kind_;
};

// Bad flags, recipe or configuration.
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(ErrorKind::kUsage, message) {}
};

// Bad input. The message reads "<source>: <problem>. <hint>"; `source` is a file, "file:line",
// "file: tensor 'x'" or "shard.tar#member".
class DataError : public Error {
 public:
  DataError(std::string_view source, std::string_view problem, std::string_view hint = "");
  const std::string& source() const { return source_; }
  const std::string& problem() const { return problem_; }

 private:
  std::string source_;
  std::string problem_;
};

class CheckFailed : public Error {
 public:
  explicit CheckFailed(const std::string& message) : Error(ErrorKind::kCheckFailed, message) {}
};

class Cancelled : public Error {
 public:
  explicit Cancelled(const std::string& message) : Error(ErrorKind::kCancelled, message) {}
};

}  // namespace parapet

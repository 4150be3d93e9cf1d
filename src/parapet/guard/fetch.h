// Images behind URLs, fetched from allowed hosts with public addresses only.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "parapet/guard/policy.h"
#include "parapet/guard/request.h"

namespace parapet::guard {

struct Fetched {
  std::string bytes;
  std::string reason;  // empty = done; else as ScanFailure::reason
  std::string detail;
  bool ok() const { return reason.empty(); }
};

class Fetcher {
 public:
  // `only_public` = false lets tests reach a server on loopback; nothing else sets it.
  explicit Fetcher(const FetchOptions& options, bool only_public = true);

  // The address is checked when the connection is made, so a name cannot point elsewhere between
  // check and use; every redirect is checked as if it had been asked for. Thread-safe.
  Fetched fetch(std::string_view url, int64_t max_bytes,
                const std::optional<Clock::time_point>& deadline) const;

 private:
  FetchOptions options_;
  bool only_public_;
};

// The bytes of base64 alone; `reason` bad_base64 or too_large.
Fetched read_base64(std::string_view text, int64_t max_bytes);
// The bytes of a data: URI; `reason` bad_data_uri or too_large.
Fetched read_data_uri(std::string_view uri, int64_t max_bytes);

}  // namespace parapet::guard

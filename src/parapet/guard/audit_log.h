// One row per decision in SQLite, write-ahead, with content hashes and, by default, no content.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "parapet/guard/decision.h"
#include "parapet/guard/request.h"

namespace parapet::guard {

struct AuditLogOptions {
  bool content = false;   // store texts and images
  bool metadata = false;  // store the request's metadata
  int64_t max_rows = 0;   // oldest go; 0 = unbounded
};

struct AuditRow {
  int64_t row = 0;
  std::string time;  // UTC, ISO 8601 with milliseconds
  std::string id, tenant, profile, side, action, shadow_action, policy_hash;
  bool review = false, complete = true;
  std::string content_hash;  // SHA-256 over the parts' hashes
  std::string decision;      // the decision's JSON without pictures
};

class AuditLog {
 public:
  // Creates or opens. DataError when the file is not such a log or cannot be written.
  AuditLog(const std::filesystem::path& file, const AuditLogOptions& options);
  ~AuditLog();
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  // Thread-safe. The row is in the log when this returns (a crash of the process cannot lose it).
  // DataError when the disk is full or the file is gone; the log stays usable when space returns.
  void append(const GuardRequest& request, const Decision& decision);
  int64_t size() const;
  // Newest first.
  std::vector<AuditRow> recent(int64_t count) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace parapet::guard

#include "parapet/guard/audit_log.h"

#include <SQLiteCpp/SQLiteCpp.h>

#include <chrono>
#include <ctime>
#include <mutex>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/formats/shared_database.h"

namespace parapet::guard {
namespace {

constexpr DatabaseKind kKind = {
    .application = 0x50415250,  // "PARP"
    .format = 1,
    .what = "an audit log of the guard",
    .patience_ms = 2'000,
};

constexpr const char* kSchema = R"(
CREATE TABLE IF NOT EXISTS decisions (
  row INTEGER PRIMARY KEY AUTOINCREMENT,
  time TEXT NOT NULL, id TEXT NOT NULL, tenant TEXT NOT NULL, profile TEXT NOT NULL,
  side TEXT NOT NULL, action TEXT NOT NULL, shadow_action TEXT NOT NULL,
  review INTEGER NOT NULL, complete INTEGER NOT NULL, policy_hash TEXT NOT NULL,
  content_hash TEXT NOT NULL, decision TEXT NOT NULL, metadata TEXT, content BLOB);
CREATE INDEX IF NOT EXISTS decisions_id ON decisions (id);
CREATE INDEX IF NOT EXISTS decisions_hash ON decisions (content_hash);
)";

std::string now_utc() {
  const auto now = std::chrono::system_clock::now();
  const auto seconds = std::chrono::system_clock::to_time_t(now);
  const auto millis =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char day[32], whole[48];
  std::strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(whole, sizeof whole, "%s.%03dZ", day, static_cast<int>(millis));
  return whole;
}

std::string content_hash(const Decision& decision) {
  Sha256 hash;
  for (const PartResult& part : decision.parts)
    hash.update(modality_name(part.modality)).update(":").update(part.sha256).update("\n");
  return hash.hex();
}

// Without pictures, changed parts and saliency: what the content says must not be in the log.
std::string decision_text(const Decision& decision) {
  nlohmann::ordered_json json = to_json(decision);
  json.erase("modified");
  json.erase("explanations");
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string metadata_text(const GuardRequest& request) {
  return nlohmann::json(request.metadata)
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// All parts: a JSON line of lengths, then the bytes.
std::string content_bytes(const GuardRequest& request) {
  nlohmann::json lengths = nlohmann::json::array();
  std::string bytes;
  for (const Part& part : request.parts) {
    lengths.push_back({{"kind", static_cast<int>(part.kind)}, {"bytes", part.content.size()}});
    bytes += part.content;
  }
  return lengths.dump() + "\n" + bytes;
}

}  // namespace

struct AuditLog::Impl {
  std::filesystem::path file;
  AuditLogOptions options;
  mutable std::mutex mutex;
  std::unique_ptr<SQLite::Database> database;
  int64_t rows = 0;

  [[noreturn]] void fail(const char* what) const {
    throw DataError(file.string(), std::string("audit log: ") + what,
                    "Check the disk and that the folder is writable.");
  }
  void open();
  void insert(const GuardRequest& request, const Decision& decision);
};

void AuditLog::Impl::open() {
  std::error_code ignored;  // opening the database names the problem
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), ignored);
  database = open_shared_database(file, kKind, [&](SQLite::Database& made, int format) {
    if (format >= 0 && format < kKind.format)
      throw DataError(file.string(), "is an audit log of another version", "Name another file.");
    made.exec(kSchema);
  });
  rows = database->execAndGet("SELECT count(*) FROM decisions").getInt64();
}

AuditLog::AuditLog(const std::filesystem::path& file, const AuditLogOptions& options)
    : impl_(std::make_unique<Impl>()) {
  impl_->file = file;
  impl_->options = options;
  try {
    impl_->open();
  } catch (const SQLite::Exception& error) {
    impl_->fail(error.what());
  }
}

AuditLog::~AuditLog() = default;

void AuditLog::Impl::insert(const GuardRequest& request, const Decision& decision) {
  SQLite::Statement insert(
      *database,
      "INSERT INTO decisions (time, id, tenant, profile, side, action, shadow_action, review, "
      "complete, policy_hash, content_hash, decision, metadata, content) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  int column = 0;
  const auto text = [&](std::string_view value) { insert.bind(++column, std::string(value)); };
  text(now_utc());
  text(decision.id);
  text(decision.tenant);
  text(decision.profile);
  text(side_name(decision.side));
  text(action_name(decision.action));
  text(action_name(decision.shadow_action));
  insert.bind(++column, decision.review ? 1 : 0);
  insert.bind(++column, decision.complete ? 1 : 0);
  text(decision.policy_hash);
  text(content_hash(decision));
  text(decision_text(decision));
  if (options.metadata)
    text(metadata_text(request));
  else
    insert.bind(++column);
  const std::string content = options.content ? content_bytes(request) : "";
  if (options.content)
    insert.bind(++column, content.data(), static_cast<int>(content.size()));
  else
    insert.bind(++column);
  insert.exec();
  ++rows;
  if (options.max_rows > 0 && rows > options.max_rows) {
    SQLite::Statement prune(*database,
                            "DELETE FROM decisions WHERE row IN (SELECT row FROM decisions ORDER "
                            "BY row LIMIT ?)");
    prune.bind(1, rows - options.max_rows);
    rows -= prune.exec();
  }
}

void AuditLog::append(const GuardRequest& request, const Decision& decision) {
  const std::lock_guard lock(impl_->mutex);
  try {
    impl_->insert(request, decision);
  } catch (const SQLite::Exception& error) {
    impl_->fail(error.what());
  }
}

int64_t AuditLog::size() const {
  const std::lock_guard lock(impl_->mutex);
  try {
    return impl_->database->execAndGet("SELECT count(*) FROM decisions").getInt64();
  } catch (const SQLite::Exception& error) {
    impl_->fail(error.what());
  }
}

std::vector<AuditRow> AuditLog::recent(int64_t count) const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<AuditRow> rows;
  try {
    SQLite::Statement query(
        *impl_->database,
        "SELECT row, time, id, tenant, profile, side, action, shadow_action, policy_hash, review, "
        "complete, content_hash, decision FROM decisions ORDER BY row DESC LIMIT ?");
    query.bind(1, count);
    while (query.executeStep()) {
      AuditRow row;
      int column = 0;
      row.row = query.getColumn(column++).getInt64();
      for (std::string* field : {&row.time, &row.id, &row.tenant, &row.profile, &row.side,
                                 &row.action, &row.shadow_action, &row.policy_hash})
        *field = query.getColumn(column++).getString();
      row.review = query.getColumn(column++).getInt() != 0;
      row.complete = query.getColumn(column++).getInt() != 0;
      row.content_hash = query.getColumn(column++).getString();
      row.decision = query.getColumn(column++).getString();
      rows.push_back(std::move(row));
    }
  } catch (const SQLite::Exception& error) {
    impl_->fail(error.what());
  }
  return rows;
}

}  // namespace parapet::guard

#include "parapet/formats/shared_database.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

#include "parapet/core/error.h"

namespace parapet {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

int number(SQLite::Database& connection, const char* query) {
  return connection.execAndGet(query).getInt();
}

void make_ready(SQLite::Database& connection, const std::string& file, const DatabaseKind& kind,
                const std::function<void(SQLite::Database&, int format)>& prepare) {
  // Questions and answers in one transaction: another process may be making the file meanwhile.
  SQLite::Transaction transaction(connection, SQLite::TransactionBehavior::IMMEDIATE);
  const int application = number(connection, "PRAGMA application_id");
  const int format = number(connection, "PRAGMA user_version");
  const bool fresh = number(connection, "SELECT count(*) FROM sqlite_master") == 0;
  if (application != kind.application && (application != 0 || !fresh))
    throw DataError(file, std::string("is a SQLite file of another program, not ") + kind.what,
                    "Name another file.");
  if (format > kind.format)
    throw DataError(file, std::string("is ") + kind.what + " written by a later version of Parapet",
                    "Name another file.");
  prepare(connection, fresh ? -1 : format);
  connection.exec("PRAGMA application_id=" + std::to_string(kind.application));
  connection.exec("PRAGMA user_version=" + std::to_string(kind.format));
  transaction.commit();
}

// SQLite refuses to change the journal at once, without waiting, while another process has the
// file in use.
void log_ahead(SQLite::Database& connection, int patience_ms) {
  const auto end = steady_clock::now() + milliseconds(patience_ms);
  for (int pause = 1;; pause = std::min(2 * pause, 50)) {
    try {
      connection.exec("PRAGMA journal_mode=WAL");
      return;
    } catch (const SQLite::Exception& error) {
      if (error.getErrorCode() != SQLITE_BUSY || steady_clock::now() > end) throw;
    }
    std::this_thread::sleep_for(milliseconds(pause));
  }
}

}  // namespace

std::unique_ptr<SQLite::Database> open_shared_database(
    const std::filesystem::path& file, const DatabaseKind& kind,
    const std::function<void(SQLite::Database&, int format)>& prepare) {
  auto connection = std::make_unique<SQLite::Database>(
      file.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, kind.patience_ms);
  make_ready(*connection, file.string(), kind, prepare);
  log_ahead(*connection, kind.patience_ms);
  connection->exec("PRAGMA synchronous=NORMAL");
  return connection;
}

}  // namespace parapet

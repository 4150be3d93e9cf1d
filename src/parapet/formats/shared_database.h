// A SQLite file of ours that several processes may make, open and write at once.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

namespace SQLite {
class Database;
}

namespace parapet {

struct DatabaseKind {
  int application;   // SQLite's application_id: marks the file as ours
  int format;        // SQLite's user_version: files of earlier ones are `prepare`'s business
  const char* what;  // "a cache of embeddings", for messages
  // How long a call waits for another process that is writing.
  int patience_ms;
};

// Opens `file`, or makes it, with write-ahead logging. `prepare(connection, format)` makes tables;
// `format` is that of the file, -1 for a new one. It runs in the one transaction that also marks
// the file, so of several processes that make it one does, and the others find it made.
// DataError: a file of another program, or of a later version. SQLite::Exception: it cannot be
// opened or written.
std::unique_ptr<SQLite::Database> open_shared_database(
    const std::filesystem::path& file, const DatabaseKind& kind,
    const std::function<void(SQLite::Database&, int format)>& prepare);

}  // namespace parapet

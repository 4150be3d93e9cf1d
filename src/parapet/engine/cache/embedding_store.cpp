#include "parapet/engine/cache/embedding_store.h"

#include <SQLiteCpp/SQLiteCpp.h>

#include <cstring>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/version.h"
#include "parapet/formats/image.h"
#include "parapet/formats/shared_database.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

constexpr DatabaseKind kKind = {
    .application = 0x50415245,  // "PARE"
    .format = 1,                // 0: files of releases that did not number it
    .what = "a cache of embeddings",
    .patience_ms = 10'000,  // another process writes a whole data set at once
};

// What commands wrote into such folders before there was one format.
void report_earlier_files(const fs::path& folder, const Context& context) {
  int64_t earlier = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    const bool ours =
        name.starts_with("images-") || name.starts_with("texts-") || name.starts_with("guard-");
    earlier += ours && name.ends_with(".safetensors");
  }
  if (earlier > 0)
    context.warn(folder.string() + ": " + std::to_string(earlier) +
                 " files hold embeddings in a format of an earlier version. They are not used and "
                 "can be deleted; embeddings are computed again");
}

}  // namespace

struct EmbeddingStore::Database {
  Database(const fs::path& file, const Context& context)
      : opened(open_shared_database(file, kKind,
                                    [&](SQLite::Database& made, int format) {
                                      prepare_table(made, format, file, context);
                                    })),
        connection(*opened) {
    select = std::make_unique<SQLite::Statement>(connection,
                                                 "SELECT value FROM embedding WHERE key = ?");
    insert = std::make_unique<SQLite::Statement>(
        connection, "INSERT OR IGNORE INTO embedding (key, value) VALUES (?, ?)");
  }

  static void prepare_table(SQLite::Database& made, int format, const fs::path& file,
                            const Context& context) {
    if (format >= 0 && format < kKind.format) {
      context.warn(file.string() +
                   " holds embeddings in a format of an earlier version. They are dropped and "
                   "computed again");
      made.exec("DROP TABLE IF EXISTS embedding");
    }
    made.exec(
        "CREATE TABLE IF NOT EXISTS embedding (id INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, "
        "value BLOB NOT NULL)");
  }

  std::vector<float> find(const std::string& key) {
    select->reset();
    select->bind(1, key);
    std::vector<float> values;
    if (select->executeStep()) {
      const SQLite::Column column = select->getColumn(0);
      const auto bytes = static_cast<size_t>(column.getBytes());
      if (bytes % sizeof(float) == 0) values.resize(bytes / sizeof(float));
      if (!values.empty()) std::memcpy(values.data(), column.getBlob(), bytes);
    }
    select->reset();
    return values;
  }

  void drop_oldest(int64_t most) {
    const int64_t rows = connection.execAndGet("SELECT count(*) FROM embedding").getInt64();
    if (rows <= most) return;
    // A tenth at once, so that this is rare.
    connection.exec(
        "DELETE FROM embedding WHERE id IN (SELECT id FROM embedding ORDER BY id LIMIT " +
        std::to_string(rows - most + most / 10) + ")");
  }

  std::unique_ptr<SQLite::Database> opened;
  SQLite::Database& connection;
  std::unique_ptr<SQLite::Statement> select, insert;
  int64_t until_count = 0;  // rows that can be written before they are counted again
};

template <class Fn>
auto EmbeddingStore::guarded(const Fn& fn) {
  const std::lock_guard lock(mutex_);
  try {
    return fn();
  } catch (const SQLite::Exception& error) {
    throw DataError(file_.string(), std::string("cannot be used as a cache: ") + error.what(),
                    "Check the path and its permissions; delete the file or name another.");
  }
}

EmbeddingStore::EmbeddingStore(const fs::path& file, int64_t most_rows, const Context& context)
    : file_(file), most_rows_(most_rows) {
  std::error_code ignored;  // opening the file names the problem
  if (file_.has_parent_path()) fs::create_directories(file_.parent_path(), ignored);
  if (file_.filename() == kFileName) report_earlier_files(file_.parent_path(), context);
  guarded([&] { database_ = std::make_unique<Database>(file_, context); });
}

EmbeddingStore::~EmbeddingStore() = default;

std::string EmbeddingStore::key(std::string_view kind, std::string_view identity,
                                std::string_view content) {
  if (identity.empty()) return {};
  return Sha256()
      .update(version())
      .update(kPixelsVersion)  // how files become pixels
      .update(std::string_view("\0", 1))
      .update(kind)
      .update(std::string_view("\0", 1))
      .update(identity)
      .update(std::string_view("\0", 1))
      .update(content)
      .hex();
}

std::optional<std::vector<float>> EmbeddingStore::find(const std::string& key) {
  std::vector<float> found = guarded([&] { return database_->find(key); });
  if (found.empty()) return std::nullopt;
  return found;
}

std::vector<std::vector<float>> EmbeddingStore::find_all(std::span<const std::string> keys,
                                                         int64_t width) {
  return guarded([&] {
    std::vector<std::vector<float>> values;
    values.reserve(keys.size());
    for (const std::string& key : keys) {
      values.push_back(database_->find(key));
      if (static_cast<int64_t>(values.back().size()) != width) values.back().clear();
    }
    return values;
  });
}

void EmbeddingStore::put(std::span<const Row> rows) {
  guarded([&] {
    Database& db = *database_;
    SQLite::Transaction transaction(db.connection, SQLite::TransactionBehavior::IMMEDIATE);
    int64_t written = 0;
    for (const auto& [key, embedding] : rows) {
      db.insert->reset();
      db.insert->bind(1, key);
      db.insert->bind(2, embedding.data(), static_cast<int>(embedding.size_bytes()));
      written += db.insert->exec();
    }
    db.insert->reset();
    // Counting reads the whole table: now and then, and always while there are few rows.
    if ((db.until_count -= written) < 0) {
      db.drop_oldest(most_rows_);
      db.until_count = most_rows_ / 20;
    }
    transaction.commit();
  });
}

}  // namespace parapet

#include "parapet/engine/cache/embedding_cache.h"

#include <SQLiteCpp/SQLiteCpp.h>

#include <cstring>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/version.h"

namespace parapet {
namespace {

constexpr int kApplication = 0x50415245;  // "PARE": marks the file as ours
// Of list and map nodes, roughly.
constexpr int64_t kOverhead = 160;

int64_t size_of(const std::string& key, const std::vector<float>& embedding) {
  return static_cast<int64_t>(key.size() * 2 + embedding.size() * sizeof(float)) + kOverhead;
}

}  // namespace

struct EmbeddingCache::Disk {
  explicit Disk(const std::filesystem::path& file)
      : database(file.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE) {
    database.setBusyTimeout(2000);
    const int application = database.execAndGet("PRAGMA application_id").getInt();
    const bool fresh = database.execAndGet("SELECT count(*) FROM sqlite_master").getInt() == 0;
    if (application != kApplication && !fresh)
      throw DataError(file.string(), "is a SQLite file of another program", "Name another file.");
    database.exec("PRAGMA journal_mode=WAL");
    database.exec("PRAGMA synchronous=NORMAL");
    database.exec("PRAGMA application_id=" + std::to_string(kApplication));
    database.exec(
        "CREATE TABLE IF NOT EXISTS embedding (id INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, "
        "value BLOB NOT NULL)");
    rows = database.execAndGet("SELECT count(*) FROM embedding").getInt64();
    select =
        std::make_unique<SQLite::Statement>(database, "SELECT value FROM embedding WHERE key = ?");
    insert = std::make_unique<SQLite::Statement>(
        database, "INSERT OR IGNORE INTO embedding (key, value) VALUES (?, ?)");
  }

  std::optional<std::vector<float>> find(const std::string& key) {
    select->reset();
    select->bind(1, key);
    if (!select->executeStep()) return std::nullopt;
    const SQLite::Column column = select->getColumn(0);
    if (column.getBytes() <= 0 || column.getBytes() % static_cast<int>(sizeof(float)) != 0)
      return std::nullopt;
    std::vector<float> values(static_cast<size_t>(column.getBytes()) / sizeof(float));
    std::memcpy(values.data(), column.getBlob(), values.size() * sizeof(float));
    return values;
  }

  void put(const std::string& key, const std::vector<float>& embedding, int64_t most) {
    insert->reset();
    insert->bind(1, key);
    insert->bind(2, embedding.data(), static_cast<int>(embedding.size() * sizeof(float)));
    rows += insert->exec();
    if (rows <= most) return;
    // A tenth at once, so that this is rare.
    const int64_t drop = rows - most + most / 10;
    rows -= database.exec(
        "DELETE FROM embedding WHERE id IN (SELECT id FROM embedding ORDER BY id LIMIT " +
        std::to_string(drop) + ")");
  }

  SQLite::Database database;
  std::unique_ptr<SQLite::Statement> select, insert;
  int64_t rows = 0;
};

EmbeddingCache::EmbeddingCache(const EmbeddingCacheOptions& options, const Context& context)
    : options_(options), context_(context) {
  if (options_.file.empty()) return;
  std::error_code ignored;  // opening the file names the problem
  if (options_.file.has_parent_path())
    std::filesystem::create_directories(options_.file.parent_path(), ignored);
  try {
    disk_ = std::make_unique<Disk>(options_.file);
    file_in_use_ = true;
  } catch (const SQLite::Exception& error) {
    throw DataError(options_.file.string(),
                    std::string("cannot be used as a cache: ") + error.what(),
                    "Check the path and its permissions; delete the file or name another.");
  }
}

EmbeddingCache::~EmbeddingCache() = default;

std::string EmbeddingCache::key(std::string_view kind, std::string_view identity,
                                std::string_view content) {
  if (identity.empty()) return {};
  return Sha256()
      .update(version())
      .update(std::string_view("\0", 1))
      .update(kind)
      .update(std::string_view("\0", 1))
      .update(identity)
      .update(std::string_view("\0", 1))
      .update(content)
      .hex();
}

std::optional<std::vector<float>> EmbeddingCache::find(const std::string& key) {
  if (key.empty()) return std::nullopt;
  {
    std::lock_guard lock(mutex_);
    if (const auto found = index_.find(key); found != index_.end()) {
      recent_.splice(recent_.begin(), recent_, found->second);
      ++counts_.hits;
      return found->second->embedding;
    }
  }
  std::optional<std::vector<float>> stored;
  {
    std::lock_guard lock(disk_mutex_);
    if (disk_) {
      try {
        stored = disk_->find(key);
      } catch (const SQLite::Exception& error) {
        disk_failed(error.what());
      }
    }
  }
  if (stored) keep(key, *stored);
  std::lock_guard lock(mutex_);
  ++(stored ? counts_.file_hits : counts_.misses);
  return stored;
}

void EmbeddingCache::put(const std::string& key, const std::vector<float>& embedding) {
  if (key.empty()) return;
  keep(key, embedding);
  std::lock_guard lock(disk_mutex_);
  if (!disk_) return;
  try {
    disk_->put(key, embedding, options_.file_rows);
  } catch (const SQLite::Exception& error) {
    disk_failed(error.what());
  }
}

void EmbeddingCache::keep(const std::string& key, const std::vector<float>& embedding) {
  const int64_t size = size_of(key, embedding);
  if (size > options_.memory_bytes) return;
  std::lock_guard lock(mutex_);
  if (index_.count(key) > 0) return;
  recent_.push_front({key, embedding});
  index_[key] = recent_.begin();
  counts_.bytes += size;
  while (counts_.bytes > options_.memory_bytes) {
    const Entry& oldest = recent_.back();
    counts_.bytes -= size_of(oldest.key, oldest.embedding);
    index_.erase(oldest.key);
    recent_.pop_back();
  }
}

// Called with disk_mutex_ held.
void EmbeddingCache::disk_failed(const char* what) {
  context_.warn("embedding cache " + options_.file.string() + " is no longer used: " + what);
  disk_.reset();
  file_in_use_ = false;
}

EmbeddingCache::Counts EmbeddingCache::counts() const {
  std::lock_guard lock(mutex_);
  Counts counts = counts_;
  counts.entries = static_cast<int64_t>(recent_.size());
  counts.file = file_in_use_;
  return counts;
}

}  // namespace parapet

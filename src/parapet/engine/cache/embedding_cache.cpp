#include "parapet/engine/cache/embedding_cache.h"

#include "parapet/core/error.h"

namespace parapet {
namespace {

// Of list and map nodes, roughly.
constexpr int64_t kOverhead = 160;

int64_t size_of(const std::string& key, const std::vector<float>& embedding) {
  return static_cast<int64_t>(key.size() * 2 + embedding.size() * sizeof(float)) + kOverhead;
}

}  // namespace

EmbeddingCache::EmbeddingCache(const EmbeddingCacheOptions& options, const Context& context)
    : options_(options), context_(context) {
  if (options_.file.empty()) return;
  disk_ = std::make_unique<EmbeddingStore>(options_.file, options_.file_rows, context_);
  file_in_use_ = true;
}

EmbeddingCache::~EmbeddingCache() = default;

std::string EmbeddingCache::key(std::string_view kind, std::string_view identity,
                                std::string_view content) {
  return EmbeddingStore::key(kind, identity, content);
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
      } catch (const DataError& error) {
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
    const EmbeddingStore::Row row(key, embedding);
    disk_->put({&row, 1});
  } catch (const DataError& error) {
    disk_failed(error.what());
  }
}

void EmbeddingCache::keep(const std::string& key, const std::vector<float>& embedding) {
  const int64_t size = size_of(key, embedding);
  if (size > options_.memory_bytes) return;
  std::lock_guard lock(mutex_);
  if (index_.count(key) > 0) return;
  std::list<Entry> fresh;  // spliced in only when nothing can fail any more
  fresh.push_front({key, embedding});
  index_.emplace(key, fresh.begin());
  recent_.splice(recent_.begin(), fresh);
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
  context_.warn(std::string("the embedding cache is no longer used: ") + what);
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

// Embeddings by content for a server: the same image or text is computed once. In memory, least
// recently used out first; optionally also in an EmbeddingStore that outlives the process. Single
// items in any order, looked up in microseconds by many threads.
#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/engine/cache/embedding_store.h"

namespace parapet {

struct EmbeddingCacheOptions {
  int64_t memory_bytes = int64_t{64} << 20;  // of keys and embeddings; 0 = nothing in memory
  std::filesystem::path file;                // SQLite; empty = none
  int64_t file_rows = 1'000'000;             // oldest rows go first beyond this
};

class EmbeddingCache {
 public:
  // Makes the file, and its folder, where there is none. One that cannot be opened, is not ours or
  // is damaged: DataError. A disk that fails later costs only speed: it is
  // reported once to `context` and the file is left alone from then on.
  explicit EmbeddingCache(const EmbeddingCacheOptions& options, const Context& context = {});
  virtual ~EmbeddingCache();

  // EmbeddingStore::key, with an Encoder::identity().
  static std::string key(std::string_view kind, std::string_view identity,
                         std::string_view content);

  // Thread-safe, all of them. An empty key is never found and never kept. put() may fail for want
  // of memory, and then has kept nothing.
  std::optional<std::vector<float>> find(const std::string& key);
  virtual void put(const std::string& key, const std::vector<float>& embedding);

  struct Counts {
    int64_t hits = 0, file_hits = 0, misses = 0, entries = 0, bytes = 0;
    bool file = false;  // one is in use: given, and no write or read of it has failed
  };
  Counts counts() const;

 private:
  struct Entry {
    std::string key;
    std::vector<float> embedding;
  };
  void keep(const std::string& key, const std::vector<float>& embedding);
  void disk_failed(const char* what);

  EmbeddingCacheOptions options_;
  Context context_;
  mutable std::mutex mutex_;
  std::list<Entry> recent_;  // most recently used first
  std::unordered_map<std::string, std::list<Entry>::iterator> index_;
  Counts counts_;
  std::mutex disk_mutex_;
  std::unique_ptr<EmbeddingStore> disk_;
  std::atomic<bool> file_in_use_{false};  // whoever asks must not wait for the disk
};

}  // namespace parapet

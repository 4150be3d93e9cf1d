// How encoders' embeddings are kept on disk: a SQLite file of rows under hashes of what they were
// made from. Several processes may use a file at once, and one that is killed leaves it whole.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "parapet/core/context.h"

namespace parapet {

class EmbeddingStore {
 public:
  using Row = std::pair<std::string, std::span<const float>>;  // key, embedding

  // Name of the file in a folder that commands are given for it.
  static constexpr std::string_view kFileName = "embeddings.sqlite";

  // Makes the file, and its folder, where there is none. Beyond `most_rows` the oldest go first.
  // Rows of an earlier format, and files of the formats that folders held before, are not used;
  // `context` is told. DataError: the file cannot be opened, is not ours or is damaged.
  EmbeddingStore(const std::filesystem::path& file, int64_t most_rows, const Context& context);
  ~EmbeddingStore();

  // SHA-256 over kind, identity of the encoder (weights, adapter, precision, preprocessing),
  // content (image bytes, pixels or text), and Parapet's version: another may compute otherwise.
  // Empty when the identity is: then nothing is kept.
  static std::string key(std::string_view kind, std::string_view identity,
                         std::string_view content);

  // Thread-safe. DataError names the file when it fails.
  std::optional<std::vector<float>> find(const std::string& key);
  // One value per key, in order; empty where there is none of `width` numbers.
  std::vector<std::vector<float>> find_all(std::span<const std::string> keys, int64_t width);
  // All or nothing. A key that is there keeps its value.
  void put(std::span<const Row> rows);
  const std::filesystem::path& file() const { return file_; }

 private:
  struct Database;
  template <class Fn>
  auto guarded(const Fn& fn);

  std::filesystem::path file_;
  int64_t most_rows_;
  std::mutex mutex_;
  std::unique_ptr<Database> database_;
};

}  // namespace parapet

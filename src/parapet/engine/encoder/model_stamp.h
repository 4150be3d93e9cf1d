// Whether a model's files are still those that were hashed. Hashing weights takes seconds, loading
// them follows: a model that is replaced between the two must not pass for the one that was hashed.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <tuple>
#include <vector>

namespace parapet {

class ModelStamp {
 public:
  // What the file system says of all files that define the models in `folders`; empty names are
  // left out. Take it before hashing.
  explicit ModelStamp(std::vector<std::filesystem::path> folders);
  // After loading. DataError when a file was replaced, changed, added or removed since.
  void require_unchanged() const;

 private:
  // Device, inode, size, and when content and inode last changed, in nanoseconds.
  using Stamp = std::tuple<uint64_t, uint64_t, int64_t, int64_t, int64_t>;
  std::map<std::filesystem::path, Stamp> look() const;

  std::vector<std::filesystem::path> folders_;
  std::map<std::filesystem::path, Stamp> before_;
};

}  // namespace parapet

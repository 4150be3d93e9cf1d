// Tar shards in webdataset naming: files that share the part before the first dot of the base name
// form one sample ("000001.png", "000001.json"). Plain, gzip or zstd.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace parapet {

struct TarMember {
  std::string name;  // path inside the archive
  std::string bytes;
};

// Sequential reader. DataError names the shard and, where known, the byte offset.
class TarReader {
 public:
  explicit TarReader(const std::filesystem::path& file,
                     int64_t max_member_bytes = int64_t{256} << 20);
  ~TarReader();
  // Next regular file; false at the end.
  bool next(TarMember& member);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "a/b/000001.Seg.png" -> {"a/b/000001", "seg.png"}: key and lower-case extension, which is empty
// for a base name without a dot. A leading dot belongs to the key.
std::pair<std::string, std::string> split_member_name(const std::string& name);

// One webdataset sample: extension (lower case, everything after the first dot) -> bytes.
struct ShardSample {
  std::string key;  // path without extension
  std::map<std::string, std::string> parts;
};
// Groups consecutive members by key; a key seen again later is an error that names both.
class ShardReader {
 public:
  explicit ShardReader(const std::filesystem::path& file);
  bool next(ShardSample& sample);

 private:
  TarReader reader_;
  std::string path_;
  std::unordered_map<std::string, std::string> keys_;  // finished key -> its first member
  TarMember pending_;
  bool has_pending_ = false;
};

// Writes under a temporary name; `finish` closes, fsyncs and renames. Without `finish` nothing
// appears. Compression by file name: .tar, .tar.gz / .tgz, .tar.zst. Member metadata is fixed
// (mtime 0, mode 0644), so equal input gives equal bytes.
class TarWriter {
 public:
  explicit TarWriter(std::filesystem::path file);
  ~TarWriter();
  void add(std::string_view name, std::string_view bytes);
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "x-{000..010}.tar" -> eleven paths (zero-padded as written), a name without braces -> itself.
std::vector<std::string> expand_braces(std::string_view pattern);

}  // namespace parapet

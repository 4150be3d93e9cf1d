// Files: bounded reads, atomic writes, read-only maps, content hashes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace parapet {

inline constexpr int64_t kDefaultReadCap = int64_t{1} << 30;

// Whole file. DataError when it is missing, not a regular file or larger than `cap` bytes (checked
// before allocation).
std::string read_file(const std::filesystem::path& file, int64_t cap = kDefaultReadCap);

// Writes under a temporary name in the same folder, fsyncs, renames: a reader sees the old or the
// new file whole. DataError names the file when the disk is full; the old file stays. What becomes
// of links, modes, pipes and devices: file_draft.h.
void write_file_atomic(const std::filesystem::path& file, std::string_view bytes);

// Copies a regular file's contents, not its mode, as write_file_atomic.
void copy_file_atomic(const std::filesystem::path& from, const std::filesystem::path& to);

// The same for streamed output: `write` appends pieces through the given function.
using ByteSink = std::function<void(std::string_view)>;
void write_file_atomic(const std::filesystem::path& file,
                       const std::function<void(const ByteSink&)>& write);

// A regular file read piece by piece: for files larger than memory, and for readers that skip.
class FileReader {
 public:
  // DataError when the file is missing or not a regular file. Never waits for a pipe's writer.
  explicit FileReader(const std::filesystem::path& file);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;
  int64_t size() const { return size_; }  // when it was opened
  // Up to `count` bytes from `offset` on; 0 at the end. DataError when reading fails.
  size_t read_at(int64_t offset, char* out, size_t count) const;

 private:
  std::filesystem::path file_;
  int fd_;
  int64_t size_;
};

// A whole file mapped privately (copy on write), so tensors may alias it. Unmapped when the last
// owner goes.
class MappedFile {
 public:
  // DataError when the file cannot be opened or mapped.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& file);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  MappedFile(std::filesystem::path path, std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}
  std::filesystem::path path_;
  std::byte* data_;
  size_t size_;
};

// Lower-case hexadecimal SHA-256.
std::string sha256_hex(std::string_view bytes);
std::string sha256_file(const std::filesystem::path& file);

// Incremental SHA-256, for keys made of several parts.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  Sha256& update(std::string_view bytes);
  std::string hex();  // finishes; call once

 private:
  void* context_;
};

}  // namespace parapet

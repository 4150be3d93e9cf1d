// A file in the making: written under a temporary name beside its place, then put there whole.
// write_file_atomic (files.h) is this in one call; a draft is for writers that need a name to open,
// e.g. a stream that seeks.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace parapet {

class FileDraft {
 public:
  // DataError when the folder is missing or not writable.
  explicit FileDraft(std::filesystem::path file);
  // Removes the draft unless it was committed.
  ~FileDraft();
  FileDraft(const FileDraft&) = delete;
  FileDraft& operator=(const FileDraft&) = delete;

  const std::string& path() const { return path_; }
  // DataError names the file when the disk is full.
  void append(std::string_view bytes);
  // fsync, then rename: a reader sees the old or the new file whole. DataError; the old file stays.
  void commit();

 private:
  std::filesystem::path file_;
  std::string path_;
  int fd_ = -1;
  bool committed_ = false;
};

}  // namespace parapet

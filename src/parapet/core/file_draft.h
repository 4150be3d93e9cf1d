// A file in the making: written under a temporary name beside its place, then put there whole.
// write_file_atomic (files.h) is this in one call; a draft is for writers that need a name or a
// descriptor, e.g. a stream that seeks. Every file that Parapet writes goes through it.
//
// A file that is there keeps its mode and, where permitted, its owner. Of a link what it leads to
// is replaced (also where nothing is there yet), not the link. A file with several hard links is
// replaced under the name given; its other names keep the old contents. Pipes, character devices
// and descriptors (/dev/stdout, /dev/fd/3, >(command)) are written into as the bytes come.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include "parapet/core/output_target.h"

namespace parapet {

class FileDraft {
 public:
  // kLater: no fsync, for many small files of which a record written last names each.
  enum class Sync { kNow, kLater };
  // DataError when the folder is missing or not writable; UsageError for what is no place for a
  // file (a folder, a socket, a disk).
  explicit FileDraft(std::filesystem::path file, Sync sync = Sync::kNow);
  // Removes the draft unless it was committed.
  ~FileDraft();
  FileDraft(const FileDraft&) = delete;
  FileDraft& operator=(const FileDraft&) = delete;

  // The temporary name. UsageError for a pipe or a device, which has none.
  const std::string& path() const;
  int descriptor() const { return fd_; }
  // DataError names the file when the disk is full.
  void append(std::string_view bytes);
  // fsync, then rename: a reader sees the old or the new file whole. DataError; the old file stays.
  void commit();

 private:
  std::filesystem::path file_;  // as the caller names it
  OutputTarget target_;
  Sync sync_;
  std::string path_;
  int fd_ = -1;
  bool committed_ = false;
};

}  // namespace parapet

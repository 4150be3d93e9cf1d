// Where a file that is to be written really goes: behind links, or into a pipe or device. Internal
// to file_draft.h.
#pragma once
#include <sys/types.h>

#include <filesystem>
#include <optional>

namespace parapet {

struct OutputTarget {
  // A regular file, there or not yet, after following every link: replaced by rename.
  std::filesystem::path file;
  // What is there already, and is kept.
  struct Existing {
    mode_t mode;
    uid_t owner;
    gid_t group;
  };
  std::optional<Existing> existing;
  // >= 0: an open descriptor to write into instead (a pipe, a character device, or a descriptor
  // that the program was given, such as /dev/stdout). The caller closes it.
  int stream = -1;
};

// UsageError: a folder, a socket, a disk. DataError: links in a circle, a file that may not be
// written, a pipe that cannot be opened.
OutputTarget find_output(const std::filesystem::path& file);

}  // namespace parapet

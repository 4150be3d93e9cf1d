#include "parapet/core/output_target.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "parapet/core/error.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxLinks = 40;  // as the kernel

[[noreturn]] void fail(const fs::path& file, const std::string& problem, const char* hint = "") {
  throw DataError(file.string(), problem, hint);
}

// N for /dev/fd/N, /proc/self/fd/N and the like: a descriptor of this very process.
std::optional<int> own_descriptor(const fs::path& path) {
  const std::string name = path.filename().string();
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (name.empty() || name.size() > 6 || !std::all_of(name.begin(), name.end(), digit)) return {};
  std::error_code error;
  const std::string folder = fs::canonical(path.parent_path(), error).string();
  if (error || !folder.starts_with("/proc/" + std::to_string(::getpid()) + "/") ||
      !folder.ends_with("/fd"))
    return {};
  return std::stoi(name);
}

// Writing goes on where the descriptor stands, as a shell's `>&N` does.
int duplicate(const fs::path& file, int descriptor) {
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (flags < 0) fail(file, "is not open");
  if ((flags & O_ACCMODE) == O_RDONLY) fail(file, "is open for reading only");
  const int copy = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) fail(file, std::string("cannot be written: ") + std::strerror(errno));
  return copy;
}

int open_stream(const fs::path& file) {
  int fd = -1;
  do {
    fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) fail(file, std::string("cannot be written: ") + std::strerror(errno));
  return fd;
}

// Follows `path` while it is a link; a descriptor of this process ends the walk.
std::optional<int> follow_links(fs::path& path, const fs::path& file) {
  for (int links = 0;; ++links) {
    if (const auto descriptor = own_descriptor(path)) return descriptor;
    std::error_code error;
    const fs::path next = fs::read_symlink(path, error);
    if (error) return {};  // no link, or nothing there
    if (links == kMaxLinks) fail(file, "is a link that leads in a circle");
    path = next.is_absolute() ? next : path.parent_path() / next;
  }
}

}  // namespace

OutputTarget find_output(const fs::path& file) {
  if (file.empty()) throw UsageError("the name of the file to write is empty");
  const std::string name = "'" + file.string() + "'";
  if (!file.has_filename()) throw UsageError(name + " names a folder: give a file's name");
  OutputTarget target;
  target.file = file;
  if (const auto descriptor = follow_links(target.file, file)) {
    target.stream = duplicate(file, *descriptor);
    return target;
  }
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR || errno == EACCES) return target;
    fail(file, std::strerror(errno));
  }
  if (S_ISDIR(info.st_mode)) throw UsageError(name + " is a folder: give a file's name");
  if (S_ISSOCK(info.st_mode)) throw UsageError(name + " is a socket, which cannot be written to");
  if (S_ISBLK(info.st_mode))
    throw UsageError(name + " is a disk, which would be overwritten: give a file's name");
  if (!S_ISREG(info.st_mode)) {
    target.stream = open_stream(file);
    return target;
  }
  if (::faccessat(AT_FDCWD, file.c_str(), W_OK, AT_EACCESS) != 0)
    fail(file, std::string("cannot be replaced: ") + std::strerror(errno),
         "Make it writable, or name another file.");
  target.existing = {info.st_mode, info.st_uid, info.st_gid};
  return target;
}

}  // namespace parapet

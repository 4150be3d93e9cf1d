#include "parapet/core/file_draft.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "parapet/core/error.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

[[noreturn]] void fail(const fs::path& file, const char* what, int code) {
  const bool full = code == ENOSPC || code == EDQUOT;
  throw DataError(file.string(), std::string(what) + ": " + std::strerror(code),
                  full ? "Free some disk space; the previous file is intact." : "");
}

}  // namespace

FileDraft::FileDraft(fs::path file)
    : file_(std::move(file)),
      path_((folder_of(file_) / ("." + file_.filename().string() + ".XXXXXX")).string()),
      fd_(::mkstemp(path_.data())) {
  if (fd_ < 0)
    throw DataError(file_.string(), std::string("cannot create: ") + std::strerror(errno),
                    "Check that the folder exists and is writable.");
}

FileDraft::~FileDraft() {
  ::close(fd_);
  if (!committed_) ::unlink(path_.c_str());
}

void FileDraft::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(file_, "write failed", errno);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

void FileDraft::commit() {
  ::fchmod(fd_, 0644);
  if (::fsync(fd_) != 0) fail(file_, "fsync failed", errno);
  if (::rename(path_.c_str(), file_.c_str()) != 0) fail(file_, "rename failed", errno);
  committed_ = true;
  // The rename itself must survive a crash too.
  const int folder = ::open(folder_of(file_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  ::fsync(folder);
  ::close(folder);
}

}  // namespace parapet

#include "parapet/core/file_draft.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "parapet/core/error.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

constexpr int kAttempts = 100;
constexpr size_t kLongestName = 200;  // of a temporary name; file systems take 255 bytes

fs::path folder_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

[[noreturn]] void fail(const fs::path& file, const char* what, int code) {
  const bool full = code == ENOSPC || code == EDQUOT;
  throw DataError(file.string(), std::string(what) + ": " + std::strerror(code),
                  full ? "Free some disk space; the previous file is intact." : "");
}

// ".name.k3x9qa" beside `file`.
std::string temporary_name(const fs::path& file) {
  static constexpr char kLetters[] = "abcdefghijklmnopqrstuvwxyz012345";
  unsigned char noise[6] = {};
  if (::getrandom(noise, sizeof noise, 0) < 0) noise[0] = static_cast<unsigned char>(::getpid());
  std::string name = "." + file.filename().string().substr(0, kLongestName) + ".";
  for (const unsigned char byte : noise) name.push_back(kLetters[byte % 32]);
  return (folder_of(file) / name).string();
}

}  // namespace

FileDraft::FileDraft(fs::path file, Sync sync)
    : file_(std::move(file)), target_(find_output(file_)), sync_(sync), fd_(target_.stream) {
  // A new file gets the mode that the user's mask gives; what replaces a file gets that one's mode
  // when it is whole, and is nobody else's to read until then.
  const mode_t mode = target_.existing ? 0600 : 0666;
  for (int attempt = 0; fd_ < 0 && attempt < kAttempts; ++attempt) {
    path_ = temporary_name(target_.file);
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd_ < 0 && errno != EEXIST) break;
  }
  if (fd_ < 0)
    throw DataError(file_.string(), std::string("cannot create: ") + std::strerror(errno),
                    "Check that the folder exists and is writable.");
}

FileDraft::~FileDraft() {
  ::close(fd_);
  if (!committed_ && target_.stream < 0) ::unlink(path_.c_str());
}

const std::string& FileDraft::path() const {
  if (target_.stream >= 0)
    throw UsageError("'" + file_.string() + "' is a pipe or a device: this needs a regular file");
  return path_;
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
  if (target_.stream >= 0) {
    committed_ = true;
    return;
  }
  if (const auto& old = target_.existing) {
    // Without the right to give a file away it stays the caller's; the group may still be kept.
    const bool owned = ::fchown(fd_, old->owner, old->group) == 0;
    const bool grouped = owned || ::fchown(fd_, static_cast<uid_t>(-1), old->group) == 0;
    // What the old group could do is not another group's to do.
    ::fchmod(fd_, old->mode & (owned ? 07777 : grouped ? 0777 : 0707));
  }
  if (sync_ == Sync::kNow && ::fsync(fd_) != 0) fail(file_, "fsync failed", errno);
  if (::rename(path_.c_str(), target_.file.c_str()) != 0) fail(file_, "rename failed", errno);
  committed_ = true;
  if (sync_ == Sync::kLater) return;
  // The rename itself must survive a crash too.
  const int folder = ::open(folder_of(target_.file).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  ::fsync(folder);
  ::close(folder);
}

}  // namespace parapet

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/formats/tar.h"
#include "parapet/formats/tar_archive.h"

namespace parapet {

struct TarWriter::Impl {
  std::filesystem::path file;
  std::string temporary;
  int fd = -1;
  archive* out = nullptr;

  [[noreturn]] void fail() const {
    const char* text = archive_error_string(out);
    throw DataError(
        file.string(), std::string("write failed: ") + (text ? text : "unknown error"),
        archive_errno(out) == ENOSPC ? "Free some disk space; no shard was written." : "");
  }
  void check(int status) const {
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) fail();
  }
  ~Impl() {
    if (out != nullptr) archive_write_free(out);
    if (fd >= 0) ::close(fd);
    if (!temporary.empty()) ::unlink(temporary.c_str());
  }
};

TarWriter::TarWriter(std::filesystem::path file) : impl_(std::make_unique<Impl>()) {
  Impl& s = *impl_;
  s.file = std::move(file);
  const std::string name = to_lower_ascii(s.file.filename().string());
  const bool gzip = name.ends_with(".tar.gz") || name.ends_with(".tgz");
  const bool zstd = name.ends_with(".tar.zst");
  if (!gzip && !zstd && !name.ends_with(".tar"))
    throw UsageError("'" + s.file.string() + "': a shard is named .tar, .tar.gz, .tgz or .tar.zst");
  const auto parent = s.file.has_parent_path() ? s.file.parent_path() : std::filesystem::path(".");
  std::string pattern = (parent / ("." + s.file.filename().string() + ".XXXXXX")).string();
  s.fd = ::mkstemp(pattern.data());
  if (s.fd < 0)
    throw DataError(s.file.string(), std::string("cannot create: ") + std::strerror(errno),
                    "Check that the folder exists and is writable.");
  s.temporary = pattern;
  s.out = archive_write_new();
  // Plain ustar unless a name is long or not ASCII.
  archive_write_set_format_pax_restricted(s.out);
  archive_write_set_options(s.out, "hdrcharset=UTF-8");
  if (gzip) {
    archive_write_add_filter_gzip(s.out);
    archive_write_set_filter_option(s.out, "gzip", "timestamp", nullptr);
  }
  if (zstd) archive_write_add_filter_zstd(s.out);
  archive_write_set_bytes_per_block(s.out, 1 << 18);
  archive_write_set_bytes_in_last_block(s.out, 1);
  s.check(archive_write_open_fd(s.out, s.fd));
}

TarWriter::~TarWriter() = default;

void TarWriter::add(std::string_view name, std::string_view bytes) {
  if (name.empty() || name.front() == '/')
    throw UsageError("TarWriter::add: member name '" + std::string(name) + "' must be relative");
  const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(),
                                                                       archive_entry_free);
  archive_entry_set_pathname_utf8(entry.get(), std::string(name).c_str());
  archive_entry_set_size(entry.get(), static_cast<int64_t>(bytes.size()));
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  archive_entry_set_perm(entry.get(), 0644);
  archive_entry_set_mtime(entry.get(), 0, 0);
  impl_->check(archive_write_header(impl_->out, entry.get()));
  if (archive_write_data(impl_->out, bytes.data(), bytes.size()) !=
      static_cast<la_ssize_t>(bytes.size()))
    impl_->fail();
}

void TarWriter::finish() {
  Impl& s = *impl_;
  s.check(archive_write_close(s.out));
  ::fchmod(s.fd, 0644);
  if (::fsync(s.fd) != 0 || ::rename(s.temporary.c_str(), s.file.c_str()) != 0)
    throw DataError(s.file.string(), std::string("cannot finish: ") + std::strerror(errno));
  s.temporary.clear();
}

}  // namespace parapet

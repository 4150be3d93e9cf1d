#include <algorithm>
#include <cerrno>
#include <memory>

#include "parapet/core/error.h"
#include "parapet/core/file_draft.h"
#include "parapet/core/strings.h"
#include "parapet/formats/tar.h"
#include "parapet/formats/tar_archive.h"

namespace parapet {
namespace {

// The headers are written here rather than by libarchive, whose name handling depends on the
// process locale; libarchive compresses the stream.
constexpr size_t kBlock = 512;
constexpr uint64_t kMaxSize = uint64_t{1} << 33;  // eleven octal digits

void put_octal(std::string& header, size_t at, size_t digits, uint64_t value) {
  for (size_t i = digits; i-- > 0; value >>= 3)
    header[at + i] = static_cast<char>('0' + (value & 7));
}

// POSIX ustar header: mode 0644, no owner, time 0.
std::string ustar_header(std::string_view name, uint64_t size, char type) {
  std::string header(kBlock, '\0');
  header.replace(0, name.size(), name);
  put_octal(header, 100, 7, 0644);
  put_octal(header, 108, 7, 0);
  put_octal(header, 116, 7, 0);
  put_octal(header, 124, 11, size);
  put_octal(header, 136, 11, 0);
  header[156] = type;
  header.replace(257, 8, std::string_view("ustar\00000", 8));
  header.replace(148, 8, "        ");
  uint64_t sum = 0;
  for (const char c : header) sum += static_cast<uint8_t>(c);
  put_octal(header, 148, 6, sum);
  header[154] = '\0';
  return header;
}

// "<length> path=<name>\n", where the length counts its own digits.
std::string pax_record(std::string_view name) {
  const size_t rest = name.size() + std::string_view(" path=\n").size();
  size_t length = rest + 1;
  while (std::to_string(length).size() + rest != length)
    length = std::to_string(length).size() + rest;
  return std::to_string(length) + " path=" + std::string(name) + "\n";
}

bool fits_ustar(std::string_view name) {
  return name.size() <= 100 && std::all_of(name.begin(), name.end(),
                                           [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

std::string padding(uint64_t size) { return std::string((kBlock - size % kBlock) % kBlock, '\0'); }

}  // namespace

struct TarWriter::Impl {
  std::filesystem::path file;
  std::unique_ptr<FileDraft> draft;
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
  void put(std::string_view bytes) const {
    while (!bytes.empty()) {
      const la_ssize_t count = archive_write_data(out, bytes.data(), bytes.size());
      if (count <= 0) fail();
      bytes.remove_prefix(static_cast<size_t>(count));
    }
  }
  ~Impl() {
    if (out != nullptr) archive_write_free(out);
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
  s.draft = std::make_unique<FileDraft>(s.file);
  s.out = archive_write_new();
  archive_write_set_format_raw(s.out);
  if (gzip) {
    archive_write_add_filter_gzip(s.out);
    archive_write_set_filter_option(s.out, "gzip", "timestamp", nullptr);
  }
  if (zstd) archive_write_add_filter_zstd(s.out);
  archive_write_set_bytes_per_block(s.out, 1 << 18);
  archive_write_set_bytes_in_last_block(s.out, 1);
  s.check(archive_write_open_fd(s.out, s.draft->descriptor()));
  const std::unique_ptr<archive_entry, void (*)(archive_entry*)> stream(archive_entry_new(),
                                                                        archive_entry_free);
  archive_entry_set_filetype(stream.get(), AE_IFREG);
  s.check(archive_write_header(s.out, stream.get()));
}

TarWriter::~TarWriter() = default;

void TarWriter::add(std::string_view name, std::string_view bytes) {
  if (name.empty() || name.front() == '/')
    throw UsageError("TarWriter::add: member name '" + std::string(name) + "' must be relative");
  if (name.find('\0') != std::string_view::npos || bytes.size() >= kMaxSize)
    throw UsageError("TarWriter::add: '" + std::string(name) + "' has no valid name or size");
  if (fits_ustar(name)) {
    impl_->put(ustar_header(name, bytes.size(), '0'));
  } else {
    const std::string record = pax_record(name);
    impl_->put(ustar_header("PaxHeader", record.size(), 'x') + record + padding(record.size()) +
               ustar_header("member", bytes.size(), '0'));
  }
  impl_->put(bytes);
  impl_->put(padding(bytes.size()));
}

void TarWriter::finish() {
  Impl& s = *impl_;
  s.put(std::string(2 * kBlock, '\0'));
  s.check(archive_write_close(s.out));
  s.draft->commit();
}

}  // namespace parapet

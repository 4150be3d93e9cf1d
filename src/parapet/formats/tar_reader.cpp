#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/formats/tar.h"
#include "parapet/formats/tar_archive.h"

namespace parapet {
namespace tar_detail {

ReadArchive new_reader(bool compressed) {
  ReadArchive reader(archive_read_new());
  archive_read_support_format_tar(reader.get());
  if (compressed) {
    archive_read_support_filter_gzip(reader.get());
    archive_read_support_filter_zstd(reader.get());
  }
  return reader;
}

void throw_archive(archive* a, std::string_view source) {
  const char* text = archive_error_string(a);
  throw DataError(source,
                  "not a readable tar shard at byte " +
                      std::to_string(std::max<int64_t>(0, archive_read_header_position(a))) + ": " +
                      (text ? text : "unknown error"),
                  "The shard is damaged or truncated: fetch or write it again.");
}

archive_entry* next_file(archive* a, std::string_view source) {
  for (;;) {
    archive_entry* entry = nullptr;
    const int status = archive_read_next_header(a, &entry);
    if (status == ARCHIVE_EOF) return nullptr;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) throw_archive(a, source);
    if (archive_entry_filetype(entry) == AE_IFREG && archive_entry_hardlink(entry) == nullptr)
      return entry;
  }
}

std::string entry_name(archive* a, archive_entry* entry, std::string_view source) {
  if (const char* name = archive_entry_pathname_utf8(entry)) return name;
  if (const char* name = archive_entry_pathname(entry)) return name;
  throw DataError(source, "the member at byte " + std::to_string(archive_read_header_position(a)) +
                              " has a name that is not valid text");
}

}  // namespace tar_detail

struct TarReader::Impl {
  tar_detail::ReadArchive reader = tar_detail::new_reader(true);
  std::string source;
  int64_t max_member_bytes = 0;
  bool ended = false;
};

TarReader::TarReader(const std::filesystem::path& file, int64_t max_member_bytes)
    : impl_(std::make_unique<Impl>()) {
  impl_->source = file.string();
  impl_->max_member_bytes = max_member_bytes;
  if (!std::filesystem::is_regular_file(file))
    throw DataError(impl_->source, "does not exist or is not a file");
  if (archive_read_open_filename(impl_->reader.get(), file.c_str(), size_t{1} << 18) != ARCHIVE_OK)
    tar_detail::throw_archive(impl_->reader.get(), impl_->source);
}

TarReader::~TarReader() = default;

bool TarReader::next(TarMember& member) {
  archive* a = impl_->reader.get();
  if (impl_->ended) return false;
  archive_entry* entry = tar_detail::next_file(a, impl_->source);
  if (entry == nullptr) {
    impl_->ended = true;
    return false;
  }
  member.name = tar_detail::entry_name(a, entry, impl_->source);
  const int64_t size = archive_entry_size(entry);
  if (size < 0 || size > impl_->max_member_bytes)
    throw DataError(impl_->source + "#" + member.name, "is " + format_bytes(size) +
                                                           ", the limit for a member is " +
                                                           format_bytes(impl_->max_member_bytes));
  // Grown as data arrives: a damaged header must not allocate what the file does not hold.
  member.bytes.clear();
  const void* block = nullptr;
  size_t count = 0;
  int64_t offset = 0;
  int status = ARCHIVE_OK;
  while ((status = archive_read_data_block(a, &block, &count, &offset)) == ARCHIVE_OK) {
    if (offset + static_cast<int64_t>(count) > size) break;
    member.bytes.resize(static_cast<size_t>(offset));  // a sparse member's hole reads as zeros
    member.bytes.append(static_cast<const char*>(block), count);
  }
  if (status != ARCHIVE_EOF) tar_detail::throw_archive(a, impl_->source + "#" + member.name);
  member.bytes.resize(static_cast<size_t>(size));
  return true;
}

}  // namespace parapet

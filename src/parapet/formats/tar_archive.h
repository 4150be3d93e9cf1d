// Thin ownership over libarchive, shared by the tar reader and the shard index.
#pragma once
#include <archive.h>
#include <archive_entry.h>

#include <memory>
#include <string>
#include <string_view>

namespace parapet::tar_detail {

struct ReadFree {
  void operator()(archive* a) const { archive_read_free(a); }
};
using ReadArchive = std::unique_ptr<archive, ReadFree>;

// A reader that accepts tar only, with gzip and zstd filters when `compressed`.
ReadArchive new_reader(bool compressed);
// The next regular file; null at the end. DataError names `source` and the header's offset.
archive_entry* next_file(archive* a, std::string_view source);
// Path inside the archive, as UTF-8 whatever the process locale.
std::string entry_name(archive* a, archive_entry* entry, std::string_view source);
[[noreturn]] void throw_archive(archive* a, std::string_view source);

}  // namespace parapet::tar_detail

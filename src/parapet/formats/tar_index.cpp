#include "parapet/formats/tar_index.h"

#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/formats/tar_archive.h"

namespace parapet {

std::shared_ptr<const TarIndex> TarIndex::open(const std::filesystem::path& file) {
  auto index = std::make_shared<TarIndex>();
  index->file_ = MappedFile::open(file);
  const auto bytes = index->file_->bytes();
  const std::string source = file.string();
  if (to_lower_ascii(file.extension().string()) != ".tar")
    throw DataError(source, "is compressed, so single members cannot be read from it",
                    "Unpack the shard to a plain .tar first.");
  const auto reader = tar_detail::new_reader(false);
  archive* a = reader.get();
  if (archive_read_open_memory(a, bytes.data(), bytes.size()) != ARCHIVE_OK)
    tar_detail::throw_archive(a, source);
  while (archive_entry* entry = tar_detail::next_file(a, source)) {
    const std::string name = tar_detail::entry_name(a, entry, source);
    const auto size = static_cast<uint64_t>(std::max<int64_t>(0, archive_entry_size(entry)));
    Span span{0, size};
    if (size > 0) {
      // Over memory and without filters libarchive hands out pointers into the map itself.
      const void* block = nullptr;
      size_t count = 0;
      int64_t offset = 0;
      if (archive_read_data_block(a, &block, &count, &offset) != ARCHIVE_OK)
        tar_detail::throw_archive(a, source);
      const auto at =
          reinterpret_cast<uintptr_t>(block) - reinterpret_cast<uintptr_t>(bytes.data());
      if (offset != 0 || count != size || at > bytes.size() || size > bytes.size() - at)
        throw DataError(source + "#" + name, "is truncated or stored sparsely",
                        "Write the shard again.");
      span.at = at;
    }
    if (!index->members_.emplace(name, span).second)
      throw DataError(source, "holds member '" + name + "' twice", "Member names must be unique.");
  }
  return index;
}

std::string TarIndex::read(const std::string& member, int64_t max_bytes) const {
  const auto it = members_.find(member);
  if (it == members_.end())
    throw DataError(file_->path().string() + "#" + member, "the shard has no such member");
  if (it->second.size > static_cast<uint64_t>(std::max<int64_t>(0, max_bytes)))
    throw DataError(file_->path().string() + "#" + member,
                    "is " + format_bytes(static_cast<int64_t>(it->second.size)) +
                        ", the limit is " + format_bytes(max_bytes));
  return {reinterpret_cast<const char*>(file_->bytes().data()) + it->second.at, it->second.size};
}

}  // namespace parapet

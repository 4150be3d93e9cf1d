// Random access to the members of one tar shard.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "parapet/core/files.h"

namespace parapet {

// Plain tar files are mapped and members found by offset; compressed shards can only be read from
// their start, so they are refused here.
class TarIndex {
 public:
  // DataError: not a plain tar, truncated, member names repeated.
  static std::shared_ptr<const TarIndex> open(const std::filesystem::path& file);
  // DataError when the shard lacks the member or it exceeds `max_bytes`.
  std::string read(const std::string& member, int64_t max_bytes) const;
  bool contains(const std::string& member) const { return members_.count(member) > 0; }
  size_t size() const { return members_.size(); }

 private:
  std::shared_ptr<const MappedFile> file_;
  struct Span {
    uint64_t at;
    uint64_t size;
  };
  std::unordered_map<std::string, Span> members_;
};

}  // namespace parapet

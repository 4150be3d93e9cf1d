// Where the bytes of a sound or a video come from: memory, or a file that is read piece by piece.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace parapet::media_detail {

class MediaBytes {
 public:
  virtual ~MediaBytes() = default;
  virtual int64_t size() const = 0;
  // Up to `count` bytes from `offset` on; 0 at the end. DataError when reading fails.
  virtual size_t read_at(int64_t offset, char* out, size_t count) const = 0;
};

// `bytes` must outlive what is returned.
std::unique_ptr<MediaBytes> view_media(std::string_view bytes);
// A path, or "shard.tar#member". A file is not taken into memory; a member of a shard is.
// DataError: missing, not a regular file (a pipe might never end), empty, or larger than
// `max_bytes`.
std::unique_ptr<MediaBytes> open_media(const std::string& location, int64_t max_bytes);
// DataError for what is empty or larger than `max_bytes`.
void check_size(int64_t size, int64_t max_bytes, std::string_view source);

}  // namespace parapet::media_detail

#include "parapet/formats/media_bytes.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/strings.h"
#include "parapet/formats/image.h"

namespace parapet::media_detail {
namespace {

class View : public MediaBytes {
 public:
  explicit View(std::string_view bytes) : bytes_(bytes) {}
  int64_t size() const override { return static_cast<int64_t>(bytes_.size()); }
  size_t read_at(int64_t offset, char* out, size_t count) const override {
    if (offset < 0 || offset >= size()) return 0;
    const std::string_view part = bytes_.substr(static_cast<size_t>(offset), count);
    std::memcpy(out, part.data(), part.size());
    return part.size();
  }

 private:
  std::string_view bytes_;
};

class Owned : public MediaBytes {
 public:
  explicit Owned(std::string bytes) : bytes_(std::move(bytes)), view_(bytes_) {}
  int64_t size() const override { return view_.size(); }
  size_t read_at(int64_t offset, char* out, size_t count) const override {
    return view_.read_at(offset, out, count);
  }

 private:
  std::string bytes_;
  View view_;
};

class InFile : public MediaBytes {
 public:
  explicit InFile(const std::filesystem::path& file) : reader_(file) {}
  int64_t size() const override { return reader_.size(); }
  size_t read_at(int64_t offset, char* out, size_t count) const override {
    return reader_.read_at(offset, out, count);
  }

 private:
  FileReader reader_;
};

}  // namespace

void check_size(int64_t size, int64_t max_bytes, std::string_view source) {
  if (size == 0)
    throw DataError(source, "is empty (zero bytes)", "Fetch or export the file again.");
  if (size > max_bytes)
    throw DataError(source,
                    "is " + format_bytes(size) + ", the limit is " + format_bytes(max_bytes),
                    "Cut the file into parts, or raise the limit.");
}

std::unique_ptr<MediaBytes> view_media(std::string_view bytes) {
  return std::make_unique<View>(bytes);
}

std::unique_ptr<MediaBytes> open_media(const std::string& location, int64_t max_bytes) {
  std::unique_ptr<MediaBytes> media;
  std::error_code ignored;
  if (std::filesystem::is_regular_file(location, ignored))
    media = std::make_unique<InFile>(location);
  else
    media = std::make_unique<Owned>(read_location(location, max_bytes));
  check_size(media->size(), max_bytes, location);
  return media;
}

}  // namespace parapet::media_detail

// Shared by the parts of the GGUF reader: the walk over the header, and its limits.
#pragma once
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "parapet/core/error.h"
#include "parapet/formats/gguf.h"

namespace parapet::gguf_detail {

inline constexpr uint64_t kMaxName = 4096;  // bytes of a key or a tensor's name

// Walks over the header. Every read is checked against the end of the file.
class Cursor {
 public:
  Cursor(const std::filesystem::path& path, std::span<const std::byte> bytes)
      : path_(path), bytes_(bytes) {}
  uint64_t at() const { return at_; }
  uint64_t left() const { return bytes_.size() - at_; }

  [[noreturn]] void fail(uint64_t at, const std::string& problem, std::string_view hint) const {
    throw DataError(path_.string(), "at byte " + std::to_string(at) + " " + problem, hint);
  }
  [[noreturn]] void fail_damaged(uint64_t at, const std::string& problem) const {
    fail(at, problem, "The file is truncated or damaged: copy it again.");
  }

  template <class T>
  T read(std::string_view what) {
    need(sizeof(T), what);
    T value{};
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }

  std::string text(uint64_t most, std::string_view what) {
    const uint64_t start = at_;
    const auto length = read<uint64_t>(what);
    if (length > left())
      fail_damaged(start, std::string(what) + " says it is " + std::to_string(length) +
                              " bytes long, but " + std::to_string(left()) + " are left");
    if (length > most)
      fail(start,
           std::string(what) + " is " + std::to_string(length) + " bytes long, the limit is " +
               std::to_string(most),
           "The file is damaged or is no model.");
    std::string out(reinterpret_cast<const char*>(bytes_.data()) + at_, length);
    at_ += length;
    return out;
  }

  void need(uint64_t count, std::string_view what) const {
    if (count > left())
      fail_damaged(at_, "the file of " + std::to_string(bytes_.size()) + " bytes ends within " +
                            std::string(what));
  }

 private:
  const std::filesystem::path& path_;
  std::span<const std::byte> bytes_;
  uint64_t at_ = 0;
};

// `count` entries of metadata from where the cursor is.
void read_metadata(Cursor& cursor, uint64_t count, std::map<std::string, GgufValue>& out);

}  // namespace parapet::gguf_detail

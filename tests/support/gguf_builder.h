// GGUF files made by hand, so that a test can lie in any field.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace parapet::test {

// The numbers of the value types.
enum GgufKind : uint32_t {
  kGgufU8,
  kGgufI8,
  kGgufU16,
  kGgufI16,
  kGgufU32,
  kGgufI32,
  kGgufF32,
  kGgufBool,
  kGgufString,
  kGgufArray,
  kGgufU64,
  kGgufI64,
  kGgufF64,
};

template <class T>
std::string gguf_bytes(T value) {
  std::string out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}

inline std::string gguf_text(std::string_view text) {
  return gguf_bytes<uint64_t>(text.size()) + std::string(text);
}

// A list's value: its items' type and number, then the items.
template <class T>
std::string gguf_list(GgufKind kind, const std::vector<T>& items) {
  std::string out = gguf_bytes<uint32_t>(kind) + gguf_bytes<uint64_t>(items.size());
  for (const T& item : items) out += gguf_bytes(item);
  return out;
}

inline std::string gguf_list(const std::vector<std::string>& items) {
  std::string out = gguf_bytes<uint32_t>(kGgufString) + gguf_bytes<uint64_t>(items.size());
  for (const std::string& item : items) out += gguf_text(item);
  return out;
}

class GgufBuilder {
 public:
  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t alignment = 32;
  int64_t extra_tensors = 0, extra_entries = 0;  // added to the counts

  GgufBuilder& entry(std::string_view key, uint32_t kind, const std::string& value) {
    entries_ += gguf_text(key) + gguf_bytes(kind) + value;
    ++entry_count_;
    return *this;
  }
  GgufBuilder& text(std::string_view key, std::string_view value) {
    return entry(key, kGgufString, gguf_text(value));
  }
  GgufBuilder& number(std::string_view key, uint32_t value) {
    return entry(key, kGgufU32, gguf_bytes(value));
  }
  GgufBuilder& real(std::string_view key, float value) {
    return entry(key, kGgufF32, gguf_bytes(value));
  }
  GgufBuilder& flag(std::string_view key, bool value) {
    return entry(key, kGgufBool, gguf_bytes<uint8_t>(value ? 1 : 0));
  }
  GgufBuilder& texts(std::string_view key, const std::vector<std::string>& values) {
    return entry(key, kGgufArray, gguf_list(values));
  }
  // `sides` as the file has them, the fastest first. `data` goes to the next aligned place.
  GgufBuilder& tensor(std::string_view name, const std::vector<uint64_t>& sides, uint32_t type,
                      const std::string& data) {
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    tensor_at(name, sides, type, data_.size());
    data_ += data;
    return *this;
  }
  // The same, without data: at the given place.
  GgufBuilder& tensor_at(std::string_view name, const std::vector<uint64_t>& sides, uint32_t type,
                         uint64_t offset) {
    table_ += gguf_text(name) + gguf_bytes(static_cast<uint32_t>(sides.size()));
    for (const uint64_t side : sides) table_ += gguf_bytes(side);
    table_ += gguf_bytes(type) + gguf_bytes(offset);
    ++tensor_count_;
    return *this;
  }
  GgufBuilder& data(const std::string& bytes) {
    data_ += bytes;
    return *this;
  }

  std::string build() const {
    std::string out = magic + gguf_bytes(version) +
                      gguf_bytes(static_cast<uint64_t>(tensor_count_ + extra_tensors)) +
                      gguf_bytes(static_cast<uint64_t>(entry_count_ + extra_entries)) + entries_ +
                      table_;
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + data_;
  }

 private:
  std::string entries_, table_, data_;
  int64_t tensor_count_ = 0, entry_count_ = 0;
};

}  // namespace parapet::test

// GGUF files, the single-file checkpoints of the llama.cpp world: mapped, strictly validated.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (little-endian; counts, typed
// metadata, a table of tensors, aligned data).
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "parapet/formats/gguf_types.h"

namespace parapet {

class MappedFile;

// One value of the metadata. Whole numbers of every width are one kind, and so are both floating
// widths: what a reader cares for is whether the number fits, not how it was stored.
class GgufValue {
 public:
  using List = std::vector<GgufValue>;
  using Holder = std::variant<bool, uint64_t, int64_t, double, std::string, List>;

  GgufValue() = default;
  explicit GgufValue(Holder value) : value_(std::move(value)) {}
  const Holder& value() const { return value_; }
  // "a string", "a list", ...: for errors.
  std::string_view kind() const;

 private:
  Holder value_;
};

struct GgufTensor {
  GgmlType type = GgmlType::kF32;
  std::vector<int64_t> shape;  // row-major, slowest first (the file lists the fastest first)
  std::span<std::byte> data;   // in the mapped file, from an aligned offset
  int64_t elements() const;
};

class GgufFile {
 public:
  // Versions 2 and 3. DataError names the file and the byte, key or tensor at fault: another
  // format, version or byte order; counts, lengths and types that cannot be true; names used twice;
  // a type of tensor that is not read; shapes that overflow; data that is misaligned, shared by two
  // tensors or beyond the end of the file. Nothing is allocated by a size that was not checked
  // against the file's own.
  static GgufFile open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  uint32_t version() const { return version_; }
  const std::map<std::string, GgufValue>& metadata() const { return metadata_; }
  const std::map<std::string, GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find(const std::string& name) const;
  // Keeps the tensors' bytes alive. The file must stay as it is meanwhile.
  const std::shared_ptr<const MappedFile>& owner() const { return owner_; }

  bool has(const std::string& key) const { return metadata_.contains(key); }
  // A value of the metadata; DataError names the file and the key where it is absent, of another
  // kind or does not fit. T: bool, int64_t, double, std::string, std::vector<std::string>,
  // std::vector<int64_t>, std::vector<double>.
  template <class T>
  T field(const std::string& key) const;
  // The same, with a default where the key is absent.
  template <class T>
  T field_or(const std::string& key, T fallback) const;

 private:
  std::filesystem::path path_;
  uint32_t version_ = 0;
  std::map<std::string, GgufValue> metadata_;
  std::map<std::string, GgufTensor> tensors_;
  std::shared_ptr<const MappedFile> owner_;
};

}  // namespace parapet

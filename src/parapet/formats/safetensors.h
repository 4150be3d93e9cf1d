// safetensors files: mapped, strictly validated, written atomically in the layout `transformers`
// reads. Format: https://github.com/huggingface/safetensors (8-byte header length, JSON, data).
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace parapet {

enum class DType { kBool, kU8, kI8, kI16, kI32, kI64, kF16, kBF16, kF32, kF64 };

int64_t dtype_size(DType dtype);           // bytes per element
std::string_view dtype_name(DType dtype);  // "F32", as in the file

// One tensor of a file. `owner` keeps `data` alive (a mapped file, or the caller's buffer).
// `data` is not necessarily aligned to the element size: check before aliasing.
struct TensorView {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<std::byte> data;  // row-major
  std::shared_ptr<const void> owner;
  int64_t elements() const;
};

// Where the tensors of an opened file are.
enum class TensorStorage {
  kMapped,  // in the file, read when touched: it must stay as it is while they live
  kCopied,  // each in memory of its own: the file may change or go once it was opened
};

// All tensors of a model: one file, or the shards of an index.
class TensorArchive {
 public:
  // A .safetensors file, a *.safetensors.index.json, or a folder holding model.safetensors or its
  // index (`stem` = "model", "adapter_model", "diffusion_pytorch_model"). DataError lists what is
  // wrong: header length or JSON, unknown dtype, shape x dtype != bytes, holes, overlaps, data
  // beyond the end of the file, tensors that the index names and the shard lacks. A folder or file
  // with only a pickle (.bin, .pt, .ckpt) is refused with how to convert it.
  // Only tensors that `keep` accepts are in the archive (empty = all). kCopied: a file that is cut
  // short while it is read is a DataError too.
  static TensorArchive open(const std::filesystem::path& path, std::string_view stem = "model",
                            TensorStorage storage = TensorStorage::kMapped,
                            const std::function<bool(const std::string& name)>& keep = {});

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const TensorView* find(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // For errors: the file that holds a tensor.
  std::string source_of(const std::string& name) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> files_;
  std::map<std::string, std::string> metadata_;
};

// Writes one file (temporary name, fsync, rename). `metadata` gets {"format": "pt"} added, which
// `transformers` requires. Wider dtypes come first, otherwise the given order, and data starts on
// 8 bytes: so every tensor is aligned to its element size (the format forbids padding).
void write_safetensors(const std::filesystem::path& file,
                       const std::vector<std::pair<std::string, TensorView>>& tensors,
                       std::map<std::string, std::string> metadata = {});

}  // namespace parapet

// The layout of a GGUF file: magic, counts, metadata, table of tensors, aligned data.
#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <set>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/formats/gguf.h"
#include "parapet/formats/gguf_internal.h"
#include "parapet/formats/tensor_findings.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
using gguf_detail::Cursor;
using gguf_detail::kMaxName;

// Far above any published model.
constexpr uint64_t kMaxEntries = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 20;
constexpr uint32_t kMaxDimensions = 4;
constexpr uint64_t kDefaultAlignment = 32, kMaxAlignment = 1 << 20;

// ---- tensors ---------------------------------------------------------------

struct Entry {
  std::string name;
  GgufTensor tensor;
  uint64_t offset = 0, bytes = 0;
};

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// The bytes of the tensor; nothing after noting what is wrong with its type or shape.
std::optional<uint64_t> sized(Entry& entry, uint32_t type, TensorFindings& findings) {
  const auto fail = [&](const std::string& problem) {
    findings.add(entry.name, problem);
    return std::nullopt;
  };
  const auto known = ggml_type_from_number(type);
  if (!known) {
    std::string read;
    for (const GgmlTypeInfo& info : ggml_types()) read += " " + std::string(info.name);
    return fail("has the type " + ggml_type_label(type) + ", which is not read (read are:" + read +
                "; quantise the model to one of them)");
  }
  entry.tensor.type = *known;
  const GgmlTypeInfo& info = ggml_type_info(*known);
  int64_t elements = 1, bytes = 0;
  for (const int64_t side : entry.tensor.shape) {
    if (side < 1) return fail("has a side of " + std::to_string(side) + " in its shape");
    if (__builtin_mul_overflow(elements, side, &elements))
      return fail("has a shape " + shape_text(entry.tensor.shape) + " whose size overflows");
  }
  const int64_t row = entry.tensor.shape.empty() ? 1 : entry.tensor.shape.back();
  if (row % info.block_elements != 0)
    return fail("of type " + std::string(info.name) + " has rows of " + std::to_string(row) +
                " numbers, which blocks of " + std::to_string(info.block_elements) +
                " do not fill");
  if (__builtin_mul_overflow(elements / info.block_elements, info.block_bytes, &bytes))
    return fail("has a shape " + shape_text(entry.tensor.shape) + " whose size overflows");
  return static_cast<uint64_t>(bytes);
}

std::vector<Entry> read_table(Cursor& cursor, uint64_t count, TensorFindings& findings) {
  std::vector<Entry> entries;
  std::set<std::string> names;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t start = cursor.at();
    Entry entry;
    entry.name = cursor.text(kMaxName, "the name of tensor " + std::to_string(i));
    const std::string what = "the description of tensor '" + entry.name.substr(0, 200) + "'";
    if (entry.name.empty()) cursor.fail_damaged(start, "the name of a tensor is empty");
    const auto dimensions = cursor.read<uint32_t>(what);
    if (dimensions > kMaxDimensions)
      cursor.fail_damaged(start, what + " says " + std::to_string(dimensions) +
                                     " dimensions, the format has at most " +
                                     std::to_string(kMaxDimensions));
    for (uint32_t d = 0; d < dimensions; ++d)
      entry.tensor.shape.push_back(static_cast<int64_t>(cursor.read<uint64_t>(what)));
    std::reverse(entry.tensor.shape.begin(), entry.tensor.shape.end());
    const auto type = cursor.read<uint32_t>(what);
    entry.offset = cursor.read<uint64_t>(what);
    if (!names.insert(entry.name).second) findings.add(entry.name, "is described twice");
    if (const auto bytes = sized(entry, type, findings)) {
      entry.bytes = *bytes;
      entries.push_back(std::move(entry));
    }
  }
  return entries;
}

// Inside the file, aligned, and no byte in two tensors. Padding may lie between them.
void check_layout(std::vector<Entry>& entries, uint64_t data_size, uint64_t alignment,
                  TensorFindings& findings) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.offset < b.offset; });
  uint64_t end = 0;
  for (const Entry& entry : entries) {
    const std::string place = "of " + std::to_string(entry.bytes) + " bytes at data byte " +
                              std::to_string(entry.offset) + " ";
    if (entry.offset > data_size || entry.bytes > data_size - entry.offset) {
      findings.add(entry.name, place + "reaches beyond the data section of " +
                                   std::to_string(data_size) + " bytes (truncated file?)");
      continue;
    }
    if (entry.offset % alignment != 0)
      findings.add(entry.name, place + "is not aligned to " + std::to_string(alignment));
    if (entry.offset < end)
      findings.add(entry.name,
                   place + "overlaps the tensor before it, which ends at " + std::to_string(end));
    end = std::max(end, entry.offset + entry.bytes);
  }
}

// ---- the whole -------------------------------------------------------------

uint32_t read_version(Cursor& cursor) {
  const auto magic = cursor.read<std::array<char, 4>>("the magic number");
  const std::string_view name(magic.data(), magic.size());
  if (name == "lmgg" || name == "fmgg" || name == "tjgg" || name == "algg")
    cursor.fail(0, "an older format of llama.cpp, from before GGUF, begins",
                "Convert the original model to GGUF again.");
  if (name != "GGUF") cursor.fail(0, "the four letters GGUF are missing", "Give a GGUF file.");
  const auto version = cursor.read<uint32_t>("the version");
  if (version == 2 || version == 3) return version;
  if (version != 0 && (version & 0xFFFFu) == 0)
    cursor.fail(4, "the version has its bytes in big-endian order",
                "Convert the model for little-endian machines.");
  cursor.fail(4, "the version is " + std::to_string(version) + ", only 2 and 3 are read",
              "Convert the model to GGUF again.");
}

uint64_t read_count(Cursor& cursor, const char* what, uint64_t most, uint64_t least_bytes) {
  const uint64_t start = cursor.at();
  const auto count = cursor.read<uint64_t>(what);
  if (count > most || count > cursor.left() / least_bytes)
    cursor.fail_damaged(start, std::string(what) + " is said to be " + std::to_string(count) +
                                   ", but " + std::to_string(cursor.left()) +
                                   " bytes are left and the limit is " + std::to_string(most));
  return count;
}

uint64_t alignment_of(const GgufFile& file) {
  const auto alignment = static_cast<uint64_t>(
      file.field_or<int64_t>("general.alignment", static_cast<int64_t>(kDefaultAlignment)));
  if (!std::has_single_bit(alignment) || alignment > kMaxAlignment)
    throw DataError(file.path().string(),
                    "'general.alignment' is " + std::to_string(alignment) +
                        ", but must be a power of two up to " + std::to_string(kMaxAlignment),
                    "The file is damaged: copy it again.");
  return alignment;
}

}  // namespace

GgufFile GgufFile::open(const fs::path& path) {
  GgufFile file;
  file.path_ = path;
  file.owner_ = MappedFile::open(path);
  const std::span<std::byte> bytes = file.owner_->bytes();
  Cursor cursor(file.path_, bytes);
  file.version_ = read_version(cursor);
  // A tensor has at least a name's length, its dimensions' number, a type and an offset; an entry
  // at least a key's length, a type and one byte.
  const uint64_t tensors = read_count(cursor, "the number of tensors", kMaxTensors, 24);
  const uint64_t entries = read_count(cursor, "the number of entries", kMaxEntries, 13);
  gguf_detail::read_metadata(cursor, entries, file.metadata_);
  const uint64_t alignment = alignment_of(file);
  TensorFindings findings;
  std::vector<Entry> table = read_table(cursor, tensors, findings);
  findings.throw_if_any(path);
  const uint64_t begin = (cursor.at() + alignment - 1) / alignment * alignment;
  const uint64_t data_size = begin < bytes.size() ? bytes.size() - begin : 0;
  check_layout(table, data_size, alignment, findings);
  findings.throw_if_any(path);
  for (Entry& entry : table) {
    entry.tensor.data = bytes.subspan(begin + entry.offset, entry.bytes);
    file.tensors_.emplace(std::move(entry.name), std::move(entry.tensor));
  }
  return file;
}

const GgufTensor* GgufFile::find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

int64_t GgufTensor::elements() const {
  int64_t count = 1;
  for (const int64_t side : shape) count *= side;
  return count;
}

}  // namespace parapet

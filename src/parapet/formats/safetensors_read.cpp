#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <new>
#include <nlohmann/json.hpp>
#include <set>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/formats/safetensors.h"
#include "parapet/formats/safetensors_internal.h"
#include "parapet/formats/safetensors_locate.h"
#include "parapet/formats/tensor_findings.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using safetensors_detail::kMaxHeader;
using Findings = TensorFindings;

// A file's bytes, in a map or read piece by piece into memory of their own.
class FileBytes {
 public:
  FileBytes(const fs::path& path, TensorStorage storage) : path_(path) {
    if (storage == TensorStorage::kMapped) {
      map_ = MappedFile::open(path);
      size_ = map_->bytes().size();
      return;
    }
    std::error_code error;
    if (!fs::is_regular_file(path, error)) throw DataError(path.string(), "not a regular file");
    in_.open(path, std::ios::binary | std::ios::ate);
    if (!in_) throw DataError(path.string(), "cannot be read", "Check its permissions.");
    size_ = static_cast<uint64_t>(in_.tellg());
  }
  const fs::path& path() const { return path_; }
  uint64_t size() const { return size_; }

  std::string text(uint64_t begin, uint64_t count) const {
    std::string out(count, '\0');
    if (map_)
      std::memcpy(out.data(), map_->bytes().data() + begin, count);
    else
      read(begin, out.data(), count);
    return out;
  }
  void fill(TensorView& view, uint64_t begin, uint64_t count) const {
    if (map_) {
      view.data = map_->bytes().subspan(begin, count);
      view.owner = map_;
      return;
    }
    const std::shared_ptr<std::byte> block(
        static_cast<std::byte*>(::operator new(count, kAlignment)),
        [](std::byte* data) { ::operator delete(data, kAlignment); });
    read(begin, reinterpret_cast<char*>(block.get()), count);
    view.data = {block.get(), count};
    view.owner = block;
  }
  // Start reading ahead: a checkpoint is nearly always read whole.
  void will_need() const {
    if (map_) ::madvise(map_->bytes().data(), map_->bytes().size(), MADV_WILLNEED);
  }

 private:
  static constexpr std::align_val_t kAlignment{64};  // as torch and OpenVINO like it
  void read(uint64_t begin, char* out, uint64_t count) const {
    in_.seekg(static_cast<std::streamoff>(begin));
    if (!in_.read(out, static_cast<std::streamsize>(count)))
      throw DataError(path_.string(), "became shorter while it was read",
                      "Replace model files by a rename, and load again.");
  }
  fs::path path_;
  std::shared_ptr<const MappedFile> map_;
  mutable std::ifstream in_;
  uint64_t size_ = 0;
};

struct Entry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  uint64_t begin = 0;
  uint64_t end = 0;
};

// The JSON header: length checked before anything is parsed, names checked for repeats (a JSON
// library keeps only one of them).
json parse_header(const FileBytes& file, uint64_t& data_start) {
  const std::string source = file.path().string();
  if (file.size() < 8)
    throw DataError(
        source,
        "is " + std::to_string(file.size()) + " bytes long, a safetensors file has at least 8",
        "The file is empty or truncated: copy it again.");
  const std::string field = file.text(0, 8);
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<uint8_t>(field[size_t(i)]);
  if (length > kMaxHeader || length > file.size() - 8)
    throw DataError(source,
                    "the header says it is " + std::to_string(length) +
                        " bytes long, the file has " + std::to_string(file.size() - 8) +
                        " after the length field (limit " + std::to_string(kMaxHeader) + ")",
                    "The file is truncated or is not a safetensors file.");
  data_start = 8 + length;
  const std::string text = file.text(8, length);
  if (text.empty() || text.front() != '{')
    throw DataError(source, "the header at byte 8 is not a JSON object",
                    "The file is damaged or is not a safetensors file.");
  std::set<std::string> names;
  std::string repeated;
  const auto note_names = [&](int depth, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::key && depth == 1)
      if (const auto& name = value.get_ref<const std::string&>(); !names.insert(name).second)
        repeated = name;
    return true;
  };
  try {
    json header = json::parse(text, note_names);
    if (!repeated.empty())
      throw DataError(source, "the header names tensor '" + repeated + "' twice");
    return header;
  } catch (const json::exception& error) {
    throw DataError(source, std::string("the header is not valid JSON: ") + error.what(),
                    "The file is damaged or is not a safetensors file.");
  }
}

// False and a finding when the entry is malformed.
bool read_entry(const std::string& name, const json& value, Entry& entry, Findings& findings) {
  const auto fail = [&](const std::string& problem) {
    findings.add(name, problem);
    return false;
  };
  if (!value.is_object()) return fail("is not described by a JSON object");
  const auto dtype = value.find("dtype");
  const auto shape = value.find("shape");
  const auto offsets = value.find("data_offsets");
  if (dtype == value.end() || !dtype->is_string()) return fail("has no dtype");
  const auto type = safetensors_detail::parse_dtype(dtype->get_ref<const std::string&>());
  if (!type)
    return fail("has dtype '" + dtype->get_ref<const std::string&>().substr(0, 40) +
                "', which Parapet does not read (cast it to F32, F16 or BF16)");
  const auto unsigned_list = [](const json& list) {
    return list.is_array() && std::all_of(list.begin(), list.end(), [](const json& item) {
             return item.is_number_unsigned() && item.get<uint64_t>() <= uint64_t(INT64_MAX);
           });
  };
  if (shape == value.end() || !unsigned_list(*shape))
    return fail("has no shape of non-negative integers");
  if (offsets == value.end() || !unsigned_list(*offsets) || offsets->size() != 2)
    return fail("has no data_offsets of two non-negative integers");
  entry = {name, *type, shape->get<std::vector<int64_t>>(), offsets->at(0).get<uint64_t>(),
           offsets->at(1).get<uint64_t>()};
  const auto elements = safetensors_detail::checked_elements(entry.shape);
  int64_t size = 0;
  if (!elements || __builtin_mul_overflow(*elements, dtype_size(*type), &size))
    return fail("has a shape " + shape->dump().substr(0, 100) + " whose size overflows");
  if (entry.end < entry.begin || entry.end - entry.begin != uint64_t(size))
    return fail("of shape " + shape->dump().substr(0, 100) + " and dtype " +
                std::string(dtype_name(*type)) + " needs " + std::to_string(size) +
                " bytes but has data_offsets " + offsets->dump());
  return true;
}

// The data section must be covered exactly once, without holes.
void check_layout(std::vector<Entry>& entries, uint64_t data_size, Findings& findings) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t at = 0;
  for (const Entry& entry : entries) {
    const std::string range =
        "[" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + ")";
    if (entry.end > data_size)
      findings.add(entry.name, "at data bytes " + range + " reaches beyond the data section of " +
                                   std::to_string(data_size) + " bytes (truncated file?)");
    else if (entry.begin < at)
      findings.add(entry.name, "at data bytes " + range + " overlaps the tensor before it, which " +
                                   "ends at " + std::to_string(at));
    else if (entry.begin > at)
      findings.add(entry.name,
                   "at data bytes " + range + " leaves a hole after " + std::to_string(at));
    at = std::max(at, entry.end);
  }
  if (at < data_size && data_size - at > 0)
    findings.add(entries.empty() ? "" : entries.back().name,
                 "is the last, but " + std::to_string(data_size - at) +
                     " bytes that belong to no tensor follow it");
}

struct OneFile {
  std::map<std::string, TensorView> tensors;
  std::map<std::string, std::string> metadata;
};

void read_metadata(const json& value, const fs::path& file, OneFile& out) {
  if (!value.is_object()) throw DataError(file.string(), "__metadata__ is not a JSON object");
  for (const auto& [key, item] : value.items()) {
    if (!item.is_string())
      throw DataError(file.string(), "__metadata__ entry '" + key + "' is not a string");
    out.metadata[key] = item.get<std::string>();
  }
}

using Keep = std::function<bool(const std::string& name)>;

OneFile read_file_tensors(const fs::path& path, TensorStorage storage, const Keep& keep) {
  safetensors_detail::refuse_pickle(path);
  const FileBytes file(path, storage);
  uint64_t data_start = 0;
  const json header = parse_header(file, data_start);
  OneFile out;
  Findings findings;
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    Entry entry;
    if (name == "__metadata__")
      read_metadata(value, path, out);
    else if (read_entry(name, value, entry, findings))
      entries.push_back(std::move(entry));
  }
  findings.throw_if_any(path);
  check_layout(entries, file.size() - data_start, findings);
  findings.throw_if_any(path);
  for (Entry& entry : entries) {
    if (keep && !keep(entry.name)) continue;
    TensorView& view = out.tensors[entry.name];
    view.dtype = entry.dtype;
    view.shape = std::move(entry.shape);
    file.fill(view, data_start + entry.begin, entry.end - entry.begin);
  }
  file.will_need();
  return out;
}

}  // namespace

const TensorView* TensorArchive::find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

std::string TensorArchive::source_of(const std::string& name) const {
  const auto it = files_.find(name);
  return it == files_.end() ? path_.string() : it->second;
}

TensorArchive TensorArchive::open(const fs::path& path, std::string_view stem,
                                  TensorStorage storage, const Keep& keep) {
  TensorArchive archive;
  archive.path_ = safetensors_detail::locate(path, stem);
  const bool is_index = archive.path_.extension() == ".json";
  const auto weight_map = is_index ? safetensors_detail::read_index(archive.path_)
                                   : std::map<std::string, std::string>{};
  std::set<fs::path> shards;
  if (!is_index) shards.insert(archive.path_);
  for (const auto& [name, shard] : weight_map) shards.insert(archive.path_.parent_path() / shard);
  for (const fs::path& shard : shards) {
    OneFile one = read_file_tensors(shard, storage, keep);
    for (auto& [name, view] : one.tensors) {
      if (const auto [it, fresh] = archive.files_.emplace(name, shard.string()); !fresh)
        throw DataError(shard.string(), "tensor '" + name + "' is also in " + it->second,
                        "Shards must not repeat tensors: export the model again.");
      archive.tensors_.emplace(name, std::move(view));
    }
    archive.metadata_.merge(one.metadata);
  }
  Findings missing;
  for (const auto& [name, shard] : weight_map) {
    if (keep && !keep(name)) continue;
    const auto it = archive.files_.find(name);
    if (it == archive.files_.end())
      missing.add(name, "is in the index but not in " + shard);
    else if (fs::path(it->second).filename() != shard)
      missing.add(name, "is in " + it->second + ", the index says " + shard);
  }
  missing.throw_if_any(archive.path_);
  return archive;
}

}  // namespace parapet

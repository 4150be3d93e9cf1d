#include "parapet/formats/safetensors_locate.h"

#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"

namespace parapet::safetensors_detail {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 6> kPickleExtensions = {".bin",  ".pt",  ".pth",
                                                               ".ckpt", ".pkl", ".pickle"};

bool has_pickle_name(const fs::path& file) {
  const std::string extension = to_lower_ascii(file.extension().string());
  for (std::string_view pickle : kPickleExtensions)
    if (extension == pickle) return true;
  return false;
}

[[noreturn]] void throw_pickle(const fs::path& file) {
  throw DataError(
      file.string(),
      "is a Python pickle, which can run code when loaded; Parapet reads only safetensors",
      "Convert it in Python, a model folder with:\n"
      "  from transformers import AutoModel; m = AutoModel.from_pretrained('FOLDER')\n"
      "  m.save_pretrained('NEW_FOLDER', safe_serialization=True)\n"
      "or a single file of tensors with:\n"
      "  import torch, safetensors.torch as st\n"
      "  st.save_file({k: v.contiguous() for k, v in torch.load('" +
          file.filename().string() + "', weights_only=True).items()}, 'model.safetensors')");
}

// The first pickle in a folder, nothing when there is none.
fs::path find_pickle(const fs::path& folder) {
  std::error_code error;
  fs::path found;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    const bool named =
        has_pickle_name(item.path()) || item.path().string().ends_with(".bin.index.json");
    if (named && item.path().filename() != "training_args.bin" &&
        (found.empty() || item.path() < found))
      found = item.path();
  }
  return found;
}

}  // namespace

void refuse_pickle(const fs::path& file) {
  if (has_pickle_name(file)) throw_pickle(file);
  std::array<char, 8> head{};
  std::ifstream in(file, std::ios::binary);
  in.read(head.data(), head.size());
  const std::string_view magic(head.data(), static_cast<size_t>(in.gcount()));
  // torch.save writes a zip archive. As a safetensors length field the same four bytes would be
  // followed by four zeros.
  if (magic.starts_with("PK\3\4") && magic.substr(4) != std::string_view("\0\0\0\0", 4))
    throw_pickle(file);
}

fs::path locate(const fs::path& path, std::string_view stem) {
  std::error_code error;
  if (!fs::exists(path, error))
    throw DataError(path.string(), "does not exist", "Give a safetensors file or a model folder.");
  if (!fs::is_directory(path, error)) {
    refuse_pickle(path);
    if (path.extension() == ".json" && !path.string().ends_with(".safetensors.index.json"))
      throw DataError(path.string(), "is not a *.safetensors.index.json",
                      "Give a safetensors file, its index or a model folder.");
    return path;
  }
  const std::string base(stem);
  for (const std::string& name : {base + ".safetensors", base + ".safetensors.index.json"})
    if (fs::exists(path / name, error)) return path / name;
  if (const fs::path pickle = find_pickle(path); !pickle.empty()) throw_pickle(pickle);
  throw DataError(path.string(),
                  "holds neither " + base + ".safetensors nor " + base + ".safetensors.index.json",
                  "Give a model folder written by save_pretrained.");
}

std::map<std::string, std::string> read_index(const fs::path& file) {
  const nlohmann::json index = load_json(file);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    throw DataError(file.string(), "field 'weight_map' is missing or not an object");
  std::map<std::string, std::string> shards;
  for (const auto& [name, shard] : index["weight_map"].items()) {
    if (!shard.is_string())
      throw DataError(file.string(), "weight_map entry '" + name + "' is not a file name");
    const std::string value = shard.get<std::string>();
    if (value.empty() || fs::path(value).filename() != value || value == "." || value == "..")
      throw DataError(file.string(), "weight_map entry '" + name + "' names '" + value +
                                         "', which is not a file beside the index");
    shards[name] = value;
  }
  if (shards.empty()) throw DataError(file.string(), "field 'weight_map' is empty");
  return shards;
}

}  // namespace parapet::safetensors_detail

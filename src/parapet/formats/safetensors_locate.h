// Which file of a model folder holds its weights, and what to say about pickles.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace parapet::safetensors_detail {

// A .safetensors file or *.safetensors.index.json from what a user gave. DataError otherwise.
std::filesystem::path locate(const std::filesystem::path& path, std::string_view stem);
// Throws DataError with the conversion recipe when `file` is a pickle by name or content.
void refuse_pickle(const std::filesystem::path& file);
// tensor name -> shard file name (checked to be a plain name beside the index).
std::map<std::string, std::string> read_index(const std::filesystem::path& file);

}  // namespace parapet::safetensors_detail

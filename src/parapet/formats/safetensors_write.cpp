#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/formats/safetensors.h"
#include "parapet/formats/safetensors_internal.h"

namespace parapet {
namespace {

using nlohmann::json;
using Named = std::pair<std::string, TensorView>;

void check(const std::filesystem::path& file, const std::vector<Named>& tensors) {
  std::set<std::string_view> seen;
  for (const auto& [name, view] : tensors) {
    const std::string source = file.string() + ": tensor '" + name + "'";
    if (name.empty() || name == "__metadata__") throw DataError(source, "has a reserved name");
    if (!seen.insert(name).second) throw DataError(source, "is given twice");
    const auto elements = safetensors_detail::checked_elements(view.shape);
    if (!elements || uint64_t(*elements) * uint64_t(dtype_size(view.dtype)) != view.data.size())
      throw DataError(source, "has " + std::to_string(view.data.size()) +
                                  " bytes, which its shape and dtype do not give");
  }
}

}  // namespace

void write_safetensors(const std::filesystem::path& file, const std::vector<Named>& tensors,
                       std::map<std::string, std::string> metadata) {
  check(file, tensors);
  metadata.emplace("format", "pt");
  // Wide types first keeps every tensor aligned to its element size; the format allows no padding
  // between tensors.
  std::vector<const Named*> order;
  for (const Named& tensor : tensors) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(), [](const Named* a, const Named* b) {
    return dtype_size(a->second.dtype) > dtype_size(b->second.dtype);
  });
  std::string header;
  try {
    header = "{\"__metadata__\":" + json(metadata).dump();
    uint64_t at = 0;
    for (const Named* tensor : order) {
      const TensorView& view = tensor->second;
      const uint64_t end = at + view.data.size();
      header += "," + json(tensor->first).dump() + ":{\"dtype\":\"" +
                std::string(dtype_name(view.dtype)) + "\",\"shape\":" + json(view.shape).dump() +
                ",\"data_offsets\":[" + std::to_string(at) + "," + std::to_string(end) + "]}";
      at = end;
    }
  } catch (const json::exception& error) {
    throw DataError(file.string(),
                    std::string("a tensor or metadata name is not UTF-8: ") + error.what());
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');  // data starts on 8 bytes
  if (header.size() > safetensors_detail::kMaxHeader)
    throw DataError(file.string(), "the header would exceed 100 MB");
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
  write_file_atomic(file, [&](const ByteSink& sink) {
    sink(length);
    sink(header);
    for (const Named* tensor : order)
      sink({reinterpret_cast<const char*>(tensor->second.data.data()), tensor->second.data.size()});
  });
}

}  // namespace parapet

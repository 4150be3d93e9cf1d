#include "parapet/engine/quantization/quantization.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/strings.h"
#include "parapet/formats/safetensors.h"
#include "parapet/models/model_folder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = "quantization.safetensors";
constexpr const char* kFormat = "parapet-quantization-2";

void add_tower(std::vector<std::pair<std::string, int64_t>>& points, const std::string& tower,
               int64_t layers, int64_t width, int64_t intermediate) {
  for (int64_t i = 0; i < layers; ++i) {
    const std::string layer = tower + ".layers." + std::to_string(i) + ".";
    points.emplace_back(layer + "qkv", width);
    points.emplace_back(layer + "q", width);
    points.emplace_back(layer + "k", width);
    points.emplace_back(layer + "out", width);
    points.emplace_back(layer + "fc1", width);
    points.emplace_back(layer + "fc2", intermediate);
  }
}

std::vector<float> floats(const TensorView& view) {
  std::vector<float> values(static_cast<size_t>(view.elements()));
  std::memcpy(values.data(), view.data.data(), view.data.size());
  return values;
}

TensorView view_of(std::vector<float>& values) {
  return {DType::kF32,
          {static_cast<int64_t>(values.size())},
          std::as_writable_bytes(std::span(values)),
          nullptr};
}

// Reads one point; adds to `problems` what is wrong with it.
QuantizationPoint read_point(const TensorArchive& archive, const std::string& name,
                             int64_t channels, std::vector<std::string>& problems) {
  QuantizationPoint point;
  const TensorView* range = archive.find(name + ".range");
  if (range == nullptr || range->dtype != DType::kF32 || range->elements() != 2) {
    problems.push_back("'" + name + ".range' must be two float32 values");
    return point;
  }
  const auto values = floats(*range);
  point.low = values[0];
  point.high = values[1];
  if (!std::isfinite(point.low) || !std::isfinite(point.high) || point.low >= point.high)
    problems.push_back("'" + name + ".range' must be finite, low < high");
  if (const TensorView* smooth = archive.find(name + ".smooth")) {
    if (smooth->dtype != DType::kF32 || smooth->elements() != channels) {
      problems.push_back("'" + name + ".smooth' must be " + std::to_string(channels) +
                         " float32 values");
      return point;
    }
    point.smooth = floats(*smooth);
    if (!std::all_of(point.smooth.begin(), point.smooth.end(),
                     [](float s) { return std::isfinite(s) && s > 0; }))
      problems.push_back("'" + name + ".smooth' must be positive");
  }
  return point;
}

}  // namespace

std::vector<std::pair<std::string, int64_t>> quantization_points(const ClipConfig& config) {
  std::vector<std::pair<std::string, int64_t>> points;
  if (config.has_vision())
    add_tower(points, "vision", config.vision.num_hidden_layers, config.vision.hidden_size,
              config.vision.intermediate_size);
  if (config.has_text())
    add_tower(points, "text", config.text.num_hidden_layers, config.text.hidden_size,
              config.text.intermediate_size);
  return points;
}

bool has_quantization(const fs::path& folder) { return fs::exists(folder / kFile); }

std::string quantization_file_hash(const fs::path& folder) { return sha256_file(folder / kFile); }

std::string weights_file_hash(const fs::path& folder) {
  std::vector<fs::path> files;
  if (fs::is_directory(folder))
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".safetensors" &&
          is_weights_file(entry.path().filename().string()))
        files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  Sha256 hash;
  for (const fs::path& file : files)
    hash.update(file.filename().string()).update(sha256_file(file));
  if (fs::exists(folder / "config.json")) hash.update(sha256_file(folder / "config.json"));
  return hash.hex();
}

QuantizationRanges QuantizationRanges::load(const fs::path& folder, const ClipConfig& config,
                                            const std::string& weights_hash) {
  QuantizationRanges ranges = peek(folder, config);
  if (ranges.weights_hash != weights_hash)
    throw DataError((folder / kFile).string(),
                    "was measured on other weights than the folder holds",
                    "Run `parapet quantize` again after changing the model.");
  return ranges;
}

QuantizationRanges QuantizationRanges::peek(const fs::path& folder, const ClipConfig& config) {
  const fs::path file = folder / kFile;
  const TensorArchive archive = TensorArchive::open(file);
  auto metadata = [&](const std::string& key) {
    const auto found = archive.metadata().find(key);
    return found == archive.metadata().end() ? std::string() : found->second;
  };
  if (metadata("format_version") != kFormat)
    throw DataError(file.string(), "does not hold quantization ranges of this version",
                    "Make it with `parapet quantize`.");
  QuantizationRanges ranges;
  ranges.weights_hash = metadata("weights_sha256");
  std::vector<std::string> problems;
  for (const auto& [name, channels] : quantization_points(config))
    ranges.points[name] = read_point(archive, name, channels, problems);
  for (const std::string& name : split(metadata("keep_float"), ',')) {
    if (name.empty()) continue;
    const auto found = ranges.points.find(name);
    if (found == ranges.points.end())
      problems.push_back("metadata 'keep_float' names an unknown point '" + name + "'");
    else
      found->second.keep_float = true;
  }
  if (!problems.empty())
    throw DataError(file.string(), join(problems, "; "), "Run `parapet quantize` again.");
  return ranges;
}

void QuantizationRanges::save(const fs::path& folder) const {
  std::vector<std::pair<std::string, std::vector<float>>> values;
  std::vector<std::string> kept;
  for (const auto& [name, point] : points) {
    values.emplace_back(name + ".range", std::vector<float>{point.low, point.high});
    if (!point.smooth.empty()) values.emplace_back(name + ".smooth", point.smooth);
    if (point.keep_float) kept.push_back(name);
  }
  std::vector<std::pair<std::string, TensorView>> tensors;
  tensors.reserve(values.size());
  for (auto& [name, data] : values) tensors.emplace_back(name, view_of(data));
  write_safetensors(folder / kFile, tensors,
                    {{"format_version", kFormat},
                     {"weights_sha256", weights_hash},
                     {"keep_float", join(kept, ",")}});
}

std::string QuantizationRanges::hash() const {
  Sha256 hash;
  hash.update(weights_hash);
  for (const auto& [name, point] : points) {
    hash.update(name);
    const float values[] = {point.low, point.high, point.keep_float ? 1.0F : 0.0F};
    hash.update({reinterpret_cast<const char*>(values), sizeof values});
    hash.update(
        {reinterpret_cast<const char*>(point.smooth.data()), point.smooth.size() * sizeof(float)});
  }
  return hash.hex();
}

}  // namespace parapet

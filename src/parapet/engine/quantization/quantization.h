// Ranges of post-training int8 quantization: what `parapet quantize` measures, the OpenVINO backend
// builds into its graphs and the native backend into its weights.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "parapet/models/clip/clip_config.h"

namespace parapet {

// One activation tensor that feeds products: the input of q, k and v together ("qkv"), q and k
// themselves, which the attention scores are made of ("q", "k"), the input of out_proj ("out"), of
// fc1 ("fc1") or of fc2 ("fc2").
struct QuantizationPoint {
  float low = 0, high = 0;  // range after smoothing
  // Per channel, what the activation is divided by and the weights' columns multiplied by
  // (SmoothQuant, arXiv 2211.10438); folded into what comes before. Empty = ones.
  std::vector<float> smooth;
  bool keep_float = false;  // too sensitive by measurement: these products stay in float
};

struct QuantizationRanges {
  std::string weights_hash;  // of the weights they were measured on (weights_file_hash)
  // "vision.layers.0.qkv", ... for the towers that the model has.
  std::map<std::string, QuantizationPoint> points;

  // `folder`/quantization.safetensors; DataError when it is malformed, misses points of `config`,
  // or was measured on other weights than those of `folder`.
  static QuantizationRanges load(const std::filesystem::path& folder, const ClipConfig& config,
                                 const std::string& weights_hash);
  // The same without knowing the weights: to look at, not to compute with.
  static QuantizationRanges peek(const std::filesystem::path& folder, const ClipConfig& config);
  void save(const std::filesystem::path& folder) const;
  // Of everything in it.
  std::string hash() const;
};

bool has_quantization(const std::filesystem::path& folder);
// SHA-256 of the folder's ranges as they lie there.
std::string quantization_file_hash(const std::filesystem::path& folder);
// All point names of a model, in order, with the number of channels.
std::vector<std::pair<std::string, int64_t>> quantization_points(const ClipConfig& config);
// SHA-256 over the bytes of the folder's weights and its config.json.
std::string weights_file_hash(const std::filesystem::path& folder);

}  // namespace parapet

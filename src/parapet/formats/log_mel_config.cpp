// Log-mel options from what transformers saves beside a model.
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/formats/log_mel.h"

namespace parapet {
namespace {

using nlohmann::json;

// Fields that are read below, follow from others, or change no feature.
bool known_field(const std::string& field) {
  static const std::set<std::string> fields = {"feature_extractor_type",
                                               "feature_size",
                                               "sampling_rate",
                                               "hop_length",
                                               "chunk_length",
                                               "n_fft",
                                               "n_samples",
                                               "nb_max_frames",
                                               "mel_filters",
                                               "padding_value",
                                               "padding_side",
                                               "dither",
                                               "return_attention_mask",
                                               "do_normalize",
                                               "processor_class",
                                               "auto_map",
                                               "device"};
  return fields.contains(field);
}

// A field that is supported only with the value transformers has by default.
template <class T>
void require_default(const json& config, std::string_view field, const T& usual,
                     const std::string& source) {
  if (json_field_or<T>(config, field, usual, source) != usual)
    throw DataError(source, "field '" + std::string(field) + "' has a value that is not supported",
                    "Only transformers' default is.");
}

}  // namespace

LogMel LogMel::from_json(const json& config, std::string_view from) {
  const std::string source(from);
  if (!config.is_object()) throw DataError(source, "is not a JSON object");
  const auto type = json_field_or<std::string>(config, "feature_extractor_type", "", source);
  if (!type.empty() && type != "WhisperFeatureExtractor")
    throw DataError(source, "field 'feature_extractor_type' is '" + type + "'",
                    "Only WhisperFeatureExtractor is supported.");
  for (const auto& [field, value] : config.items())
    if (!known_field(field)) throw DataError(source, "field '" + field + "' is not known");
  require_default<double>(config, "padding_value", 0, source);
  require_default<double>(config, "dither", 0, source);
  require_default<bool>(config, "do_normalize", false, source);
  require_default<std::string>(config, "padding_side", "right", source);
  LogMelOptions options;
  options.mel_bins = json_field_or<int64_t>(config, "feature_size", 80, source);
  options.sample_rate = json_field_or<int64_t>(config, "sampling_rate", 16000, source);
  options.n_fft = json_field_or<int64_t>(config, "n_fft", 400, source);
  options.hop_length = json_field_or<int64_t>(config, "hop_length", 160, source);
  options.chunk_seconds = json_field_or<int64_t>(config, "chunk_length", 30, source);
  try {
    return LogMel(options);
  } catch (const UsageError& error) {
    throw DataError(source, error.what());
  }
}

LogMel LogMel::load(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return from_json(load_json(path), path.string());
  // Like transformers 5, which saves a whole processor as one file and prefers it.
  const auto whole = path / "processor_config.json";
  if (std::filesystem::exists(whole)) {
    const json config = load_json(whole);
    if (config.is_object() && config.contains("feature_extractor"))
      return from_json(config["feature_extractor"], whole.string() + ": field 'feature_extractor'");
  }
  const auto file = path / "preprocessor_config.json";
  return from_json(load_json(file), file.string());
}

}  // namespace parapet

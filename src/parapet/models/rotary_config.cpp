#include "parapet/models/rotary_config.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/models/config_fields.h"

namespace parapet {
namespace {

using nlohmann::json;

constexpr double kMost = 1e9;

nn::RotaryScaling scaling_of(const std::string& type, const std::string& source) {
  if (type == "default") return nn::RotaryScaling::kNone;
  if (type == "linear") return nn::RotaryScaling::kLinear;
  if (type == "llama3") return nn::RotaryScaling::kLlama3;
  if (type == "yarn") return nn::RotaryScaling::kYarn;
  throw DataError(source, "the rotary scaling type '" + type + "' is not supported",
                  "Known: default, linear, llama3, yarn.");
}

const char* type_name(nn::RotaryScaling scaling) {
  switch (scaling) {
    case nn::RotaryScaling::kNone:
      return "default";
    case nn::RotaryScaling::kLinear:
      return "linear";
    case nn::RotaryScaling::kLlama3:
      return "llama3";
    case nn::RotaryScaling::kYarn:
      return "yarn";
  }
  return "";
}

// The object that holds the settings; empty where config.json has none.
json settings_of(const json& config, const std::string& source) {
  for (const char* field : {"rope_scaling", "rope_parameters"}) {
    const auto it = config.find(field);
    if (it == config.end() || it->is_null() || (it->is_object() && it->empty())) continue;
    if (!it->is_object())
      throw DataError(source, std::string("field '") + field + "' must be an object");
    return *it;
  }
  return json::object();
}

void read_yarn(const json& settings, nn::RotaryOptions& options, const std::string& source) {
  options.beta_fast = bounded_number(settings, "beta_fast", 32, 0, kMost, source);
  options.beta_slow = bounded_number(settings, "beta_slow", 1, 0, kMost, source);
  options.truncate = json_field_or<bool>(settings, "truncate", true, source);
  options.attention_factor = bounded_number(settings, "attention_factor", 0, 0, kMost, source);
  const double scale = bounded_number(settings, "mscale", 0, 0, kMost, source);
  const double scale_all = bounded_number(settings, "mscale_all_dim", 0, 0, kMost, source);
  if (options.attention_factor > 0 || scale <= 0 || scale_all <= 0) return;
  const double log_factor = 0.1 * std::log(options.factor);
  options.attention_factor = (scale * log_factor + 1) / (scale_all * log_factor + 1);
}

}  // namespace

nn::RotaryOptions read_rotary(const json& config, int64_t head_dim, int64_t max_positions,
                              const std::string& source) {
  const json settings = settings_of(config, source);
  nn::RotaryOptions options;
  options.head_dim = head_dim;
  options.theta = bounded_number(settings.contains("rope_theta") ? settings : config, "rope_theta",
                                 10000, 1, 1e15, source);
  const auto old_name = json_field_or<std::string>(settings, "type", "default", source);
  options.scaling =
      scaling_of(json_field_or<std::string>(settings, "rope_type", old_name, source), source);
  for (const json* object : {&settings, &config})
    if (json_field_or<double>(*object, "partial_rotary_factor", 1.0, source) != 1.0)
      throw DataError(source, "field 'partial_rotary_factor' other than 1 is not supported");
  if (options.scaling != nn::RotaryScaling::kNone) {
    const json& holder = config.contains("original_max_position_embeddings") ? config : settings;
    options.original_max_positions = bounded_field(holder, "original_max_position_embeddings",
                                                   max_positions, 1, 1 << 30, source);
    const double stretch =
        static_cast<double>(max_positions) / static_cast<double>(options.original_max_positions);
    options.factor = bounded_number(settings, "factor", stretch, 0, kMost, source);
    options.low_freq_factor = bounded_number(settings, "low_freq_factor", 1, 0, kMost, source);
    options.high_freq_factor = bounded_number(settings, "high_freq_factor", 4, 0, kMost, source);
    if (options.scaling == nn::RotaryScaling::kYarn) read_yarn(settings, options, source);
  }
  try {
    nn::Rotary{options};
  } catch (const UsageError& error) {
    throw DataError(source, error.what());
  }
  return options;
}

void write_rotary(json& config, const nn::RotaryOptions& options) {
  json settings = {{"rope_type", type_name(options.scaling)}};
  if (options.scaling != nn::RotaryScaling::kNone) settings["factor"] = options.factor;
  if (options.scaling == nn::RotaryScaling::kLlama3) {
    settings["low_freq_factor"] = options.low_freq_factor;
    settings["high_freq_factor"] = options.high_freq_factor;
  }
  if (options.scaling == nn::RotaryScaling::kYarn) {
    if (options.beta_fast != 32) settings["beta_fast"] = options.beta_fast;
    if (options.beta_slow != 1) settings["beta_slow"] = options.beta_slow;
    if (options.attention_factor > 0) settings["attention_factor"] = options.attention_factor;
    if (!options.truncate) settings["truncate"] = false;
  }
  if (options.scaling == nn::RotaryScaling::kLlama3 || options.scaling == nn::RotaryScaling::kYarn)
    settings["original_max_position_embeddings"] = options.original_max_positions;
  config["rope_theta"] = options.theta;
  config["rope_scaling"] = options.scaling == nn::RotaryScaling::kNone ? json(nullptr) : settings;
  settings["rope_theta"] = options.theta;
  config["rope_parameters"] = settings;
}

}  // namespace parapet

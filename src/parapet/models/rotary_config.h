// Rotary embeddings in config.json, in the forms that old and new `transformers` write.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>

#include "parapet/nn/rotary.h"

namespace parapet {

// From "rope_parameters" (transformers 5), or "rope_theta" with "rope_scaling" (before). DataError
// names the scaling type where it is none of default, linear, llama3, yarn, and a field out of
// range.
nn::RotaryOptions read_rotary(const nlohmann::json& config, int64_t head_dim, int64_t max_positions,
                              const std::string& source);
// Both forms, so that every `transformers` reads it.
void write_rotary(nlohmann::json& config, const nn::RotaryOptions& options);

}  // namespace parapet

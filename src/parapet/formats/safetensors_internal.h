// Shared by the safetensors reader and writer.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/formats/safetensors.h"

namespace parapet::safetensors_detail {

// The format's own limit on the JSON header, which every reader enforces.
inline constexpr uint64_t kMaxHeader = 100'000'000;

std::optional<DType> parse_dtype(std::string_view name);
// Elements of a shape; nothing when it overflows or has a negative side.
std::optional<int64_t> checked_elements(const std::vector<int64_t>& shape);

}  // namespace parapet::safetensors_detail

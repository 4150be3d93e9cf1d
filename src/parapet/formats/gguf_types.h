// The number types of GGUF tensors: plain ones, and blocks of numbers that share scales.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace parapet {

// As the files number them.
enum class GgmlType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBF16 = 30,
};

struct GgmlTypeInfo {
  GgmlType type;
  std::string_view name;
  int64_t block_elements;  // 1 for plain types
  int64_t block_bytes;
};

// Every type that is read.
std::span<const GgmlTypeInfo> ggml_types();
const GgmlTypeInfo& ggml_type_info(GgmlType type);
// Nothing for a number that is no type or one that is not read.
std::optional<GgmlType> ggml_type_from_number(uint32_t number);
// "Q2_K (10)": for errors, known types that are not read included.
std::string ggml_type_label(uint32_t number);

// Whole blocks of `type` to floats, bit-equal to what the reference implementations compute. An
// internal Error when the sizes do not belong together.
void dequantize(GgmlType type, std::span<const std::byte> blocks, std::span<float> out);

}  // namespace parapet

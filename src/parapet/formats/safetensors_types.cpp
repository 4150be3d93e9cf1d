#include <array>

#include "parapet/formats/safetensors.h"
#include "parapet/formats/safetensors_internal.h"

namespace parapet {
namespace {

struct DTypeInfo {
  DType dtype;
  std::string_view name;
  int64_t size;
};

constexpr std::array<DTypeInfo, 10> kTypes = {{{DType::kBool, "BOOL", 1},
                                               {DType::kU8, "U8", 1},
                                               {DType::kI8, "I8", 1},
                                               {DType::kI16, "I16", 2},
                                               {DType::kI32, "I32", 4},
                                               {DType::kI64, "I64", 8},
                                               {DType::kF16, "F16", 2},
                                               {DType::kBF16, "BF16", 2},
                                               {DType::kF32, "F32", 4},
                                               {DType::kF64, "F64", 8}}};

const DTypeInfo& info(DType dtype) { return kTypes[static_cast<size_t>(dtype)]; }

}  // namespace

int64_t dtype_size(DType dtype) { return info(dtype).size; }
std::string_view dtype_name(DType dtype) { return info(dtype).name; }

int64_t TensorView::elements() const {
  int64_t count = 1;
  for (int64_t side : shape) count *= side;
  return count;
}

namespace safetensors_detail {

std::optional<DType> parse_dtype(std::string_view name) {
  for (const DTypeInfo& type : kTypes)
    if (type.name == name) return type.dtype;
  return std::nullopt;
}

std::optional<int64_t> checked_elements(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t side : shape)
    if (side < 0 || __builtin_mul_overflow(count, side, &count)) return std::nullopt;
  return count;
}

}  // namespace safetensors_detail
}  // namespace parapet

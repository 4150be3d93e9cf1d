#include "parapet/formats/gguf_types.h"

#include <array>
#include <utility>

#include "parapet/core/error.h"

namespace parapet {
namespace {

constexpr std::array<GgmlTypeInfo, 11> kTypes = {{{GgmlType::kF32, "F32", 1, 4},
                                                  {GgmlType::kF16, "F16", 1, 2},
                                                  {GgmlType::kBF16, "BF16", 1, 2},
                                                  {GgmlType::kQ4_0, "Q4_0", 32, 18},
                                                  {GgmlType::kQ4_1, "Q4_1", 32, 20},
                                                  {GgmlType::kQ5_0, "Q5_0", 32, 22},
                                                  {GgmlType::kQ5_1, "Q5_1", 32, 24},
                                                  {GgmlType::kQ8_0, "Q8_0", 32, 34},
                                                  {GgmlType::kQ4_K, "Q4_K", 256, 144},
                                                  {GgmlType::kQ5_K, "Q5_K", 256, 176},
                                                  {GgmlType::kQ6_K, "Q6_K", 256, 210}}};

// Types that exist but are not read, so that an error can say which one a file uses.
constexpr std::array<std::pair<uint32_t, std::string_view>, 21> kUnread = {
    {{9, "Q8_1"},     {10, "Q2_K"},  {11, "Q3_K"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"},
     {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"},
     {24, "I8"},      {25, "I16"},   {26, "I32"},    {27, "I64"},   {28, "F64"},     {29, "IQ1_M"},
     {34, "TQ1_0"},   {35, "TQ2_0"}, {39, "MXFP4"}}};

}  // namespace

std::span<const GgmlTypeInfo> ggml_types() { return kTypes; }

const GgmlTypeInfo& ggml_type_info(GgmlType type) {
  for (const GgmlTypeInfo& info : kTypes)
    if (info.type == type) return info;
  throw Error(ErrorKind::kInternal, "ggml_type_info: unknown type");
}

std::optional<GgmlType> ggml_type_from_number(uint32_t number) {
  for (const GgmlTypeInfo& info : kTypes)
    if (static_cast<uint32_t>(info.type) == number) return info.type;
  return std::nullopt;
}

std::string ggml_type_label(uint32_t number) {
  const std::string in_brackets = " (" + std::to_string(number) + ")";
  for (const GgmlTypeInfo& info : kTypes)
    if (static_cast<uint32_t>(info.type) == number) return std::string(info.name) + in_brackets;
  for (const auto& [known, name] : kUnread)
    if (known == number) return std::string(name) + in_brackets;
  return "number " + std::to_string(number);
}

}  // namespace parapet

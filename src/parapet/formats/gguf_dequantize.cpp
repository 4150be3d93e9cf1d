// Blocks of GGUF tensors to floats. Each function takes one block; the loops are plain, so that
// every compiler and machine runs the same code, and compilers turn them into vector code by
// themselves. Products and sums keep the order of the reference, which makes results bit-equal.
#include <bit>
#include <cstring>

#include "parapet/core/error.h"
#include "parapet/core/target_clones.h"
#include "parapet/formats/gguf_types.h"

namespace parapet {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are read in place");

// Into each copy of the loops below, so that it is compiled for what they are.
#if defined(__GNUC__)
#define PARAPET_INLINE [[gnu::always_inline]] inline
#else
#define PARAPET_INLINE inline
#endif

using Byte = uint8_t;

PARAPET_INLINE uint16_t load16(const Byte* from) {
  uint16_t value = 0;
  std::memcpy(&value, from, sizeof value);
  return value;
}

PARAPET_INLINE uint32_t load32(const Byte* from) {
  uint32_t value = 0;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// IEEE half precision, subnormals, infinities and NaN included.
PARAPET_INLINE float half(const Byte* from) {
  const uint32_t bits = load16(from);
  const uint32_t sign = (bits & 0x8000u) << 16;
  const uint32_t exponent = bits >> 10 & 0x1Fu, fraction = bits & 0x3FFu;
  if (exponent == 0) {
    const float value = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
  }
  const uint32_t wide = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

PARAPET_INLINE void f32_block(const Byte* in, float* out) { std::memcpy(out, in, sizeof *out); }
PARAPET_INLINE void f16_block(const Byte* in, float* out) { *out = half(in); }
PARAPET_INLINE void bf16_block(const Byte* in, float* out) {
  *out = std::bit_cast<float>(uint32_t{load16(in)} << 16);
}

// ---- 32 numbers to a block: the low halves of 16 bytes, then the high ones ----

PARAPET_INLINE void q4_0_block(const Byte* in, float* out) {
  const float scale = half(in);
  for (int i = 0; i < 16; ++i) {
    out[i] = static_cast<float>((in[2 + i] & 15) - 8) * scale;
    out[i + 16] = static_cast<float>((in[2 + i] >> 4) - 8) * scale;
  }
}

PARAPET_INLINE void q4_1_block(const Byte* in, float* out) {
  const float scale = half(in), least = half(in + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = static_cast<float>(in[4 + i] & 15) * scale + least;
    out[i + 16] = static_cast<float>(in[4 + i] >> 4) * scale + least;
  }
}

// The fifth bits of all 32 numbers lie together in four bytes.
PARAPET_INLINE int fifth_bit(uint32_t bits, int i) { return static_cast<int>(bits >> i & 1u) << 4; }

PARAPET_INLINE void q5_0_block(const Byte* in, float* out) {
  const float scale = half(in);
  const uint32_t bits = load32(in + 2);
  for (int i = 0; i < 16; ++i) {
    const int low = (in[6 + i] & 15) | fifth_bit(bits, i);
    const int high = (in[6 + i] >> 4) | fifth_bit(bits, i + 16);
    out[i] = static_cast<float>(low - 16) * scale;
    out[i + 16] = static_cast<float>(high - 16) * scale;
  }
}

PARAPET_INLINE void q5_1_block(const Byte* in, float* out) {
  const float scale = half(in), least = half(in + 2);
  const uint32_t bits = load32(in + 4);
  for (int i = 0; i < 16; ++i) {
    const int low = (in[8 + i] & 15) | fifth_bit(bits, i);
    const int high = (in[8 + i] >> 4) | fifth_bit(bits, i + 16);
    out[i] = static_cast<float>(low) * scale + least;
    out[i + 16] = static_cast<float>(high) * scale + least;
  }
}

PARAPET_INLINE void q8_0_block(const Byte* in, float* out) {
  const float scale = half(in);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(in[2 + i])) * scale;
}

// ---- 256 numbers to a block, which share six-bit scales in groups ----

struct ScaleAndLeast {
  int scale;
  int least;
};

// Eight pairs in twelve bytes: the first four pairs have bytes of their own, whose two top bits
// belong to the last four.
PARAPET_INLINE ScaleAndLeast group_of(const Byte* packed, int group) {
  if (group < 4) return {packed[group] & 63, packed[group + 4] & 63};
  return {(packed[group + 4] & 15) | (packed[group - 4] >> 6) << 4,
          (packed[group + 4] >> 4) | (packed[group] >> 6) << 4};
}

PARAPET_INLINE void q4_k_block(const Byte* in, float* out) {
  const float scale = half(in), least = half(in + 2);
  const Byte* numbers = in + 16;
  for (int group = 0; group < 8; ++group, out += 32) {
    const ScaleAndLeast own = group_of(in + 4, group);
    const float factor = scale * static_cast<float>(own.scale);
    const float offset = least * static_cast<float>(own.least);
    const int shift = group % 2 * 4;  // two groups share their bytes
    const Byte* bytes = numbers + group / 2 * 32;
    for (int i = 0; i < 32; ++i)
      out[i] = factor * static_cast<float>(bytes[i] >> shift & 15) - offset;
  }
}

PARAPET_INLINE void q5_k_block(const Byte* in, float* out) {
  const float scale = half(in), least = half(in + 2);
  const Byte* fifth = in + 16;  // bit `group` of byte i
  const Byte* numbers = in + 48;
  for (int group = 0; group < 8; ++group, out += 32) {
    const ScaleAndLeast own = group_of(in + 4, group);
    const float factor = scale * static_cast<float>(own.scale);
    const float offset = least * static_cast<float>(own.least);
    const int shift = group % 2 * 4;
    const Byte* bytes = numbers + group / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      const int number = (bytes[i] >> shift & 15) | (fifth[i] >> group & 1) << 4;
      out[i] = factor * static_cast<float>(number) - offset;
    }
  }
}

PARAPET_INLINE void q6_k_block(const Byte* in, float* out) {
  const Byte* low = in;
  const Byte* high = in + 128;
  const Byte* scales = in + 192;
  const float scale = half(in + 208);
  // Groups of 32: bytes of the low four bits serve two of them, those of the high two bits four.
  for (int group = 0; group < 8; ++group, out += 32) {
    const int half_block = group / 4, quarter = group % 4;
    const Byte* low_bytes = low + half_block * 64 + quarter % 2 * 32;
    const Byte* high_bytes = high + half_block * 32;
    const int low_shift = quarter / 2 * 4, high_shift = quarter * 2;
    for (int part = 0; part < 2; ++part) {
      const auto own = static_cast<int8_t>(scales[group * 2 + part]);
      const float factor = scale * static_cast<float>(own);
      for (int i = part * 16; i < part * 16 + 16; ++i) {
        const int number = (low_bytes[i] >> low_shift & 15) | (high_bytes[i] >> high_shift & 3)
                                                                  << 4;
        out[i] = factor * static_cast<float>(number - 32);
      }
    }
  }
}

// A run of blocks, with a copy for AVX2 where the compiler can make one. No copy may fuse products
// with sums, or results would differ between machines.
#define PARAPET_BLOCK_LOOP(name, elements, bytes)                                             \
  PARAPET_VECTOR_CLONES("avx2", "default")                                                    \
  void name##_blocks(const Byte* in, int64_t count, float* out) {                             \
    for (int64_t i = 0; i < count; ++i) name##_block(in + i * (bytes), out + i * (elements)); \
  }
PARAPET_BLOCK_LOOP(f32, 1, 4)
PARAPET_BLOCK_LOOP(f16, 1, 2)
PARAPET_BLOCK_LOOP(bf16, 1, 2)
PARAPET_BLOCK_LOOP(q4_0, 32, 18)
PARAPET_BLOCK_LOOP(q4_1, 32, 20)
PARAPET_BLOCK_LOOP(q5_0, 32, 22)
PARAPET_BLOCK_LOOP(q5_1, 32, 24)
PARAPET_BLOCK_LOOP(q8_0, 32, 34)
PARAPET_BLOCK_LOOP(q4_k, 256, 144)
PARAPET_BLOCK_LOOP(q5_k, 256, 176)
PARAPET_BLOCK_LOOP(q6_k, 256, 210)
#undef PARAPET_BLOCK_LOOP

using Loop = void (*)(const Byte*, int64_t, float*);

Loop loop_of(GgmlType type) {
  switch (type) {
    case GgmlType::kF32:
      return f32_blocks;
    case GgmlType::kF16:
      return f16_blocks;
    case GgmlType::kBF16:
      return bf16_blocks;
    case GgmlType::kQ4_0:
      return q4_0_blocks;
    case GgmlType::kQ4_1:
      return q4_1_blocks;
    case GgmlType::kQ5_0:
      return q5_0_blocks;
    case GgmlType::kQ5_1:
      return q5_1_blocks;
    case GgmlType::kQ8_0:
      return q8_0_blocks;
    case GgmlType::kQ4_K:
      return q4_k_blocks;
    case GgmlType::kQ5_K:
      return q5_k_blocks;
    case GgmlType::kQ6_K:
      return q6_k_blocks;
  }
  throw Error(ErrorKind::kInternal, "dequantize: unknown type");
}

}  // namespace

void dequantize(GgmlType type, std::span<const std::byte> blocks, std::span<float> out) {
  const GgmlTypeInfo& info = ggml_type_info(type);
  const auto count = static_cast<int64_t>(blocks.size()) / info.block_bytes;
  if (static_cast<int64_t>(blocks.size()) != count * info.block_bytes ||
      static_cast<int64_t>(out.size()) != count * info.block_elements)
    throw Error(ErrorKind::kInternal, "dequantize: the sizes do not belong together");
  loop_of(type)(reinterpret_cast<const Byte*>(blocks.data()), count, out.data());
}

}  // namespace parapet

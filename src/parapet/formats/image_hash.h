// PDQ, a perceptual hash: 256 bits that stay nearly the same when a picture is resized,
// recompressed or lightly edited. Written from its published description ("The TMK+PDQF
// Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm", Facebook 2019): two-fold box
// filter, 64 x 64 samples, 16 x 16 low frequencies, one bit each against their median.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "parapet/formats/image.h"

namespace parapet {

// Bit k (of frequency row k / 16, column k % 16) is bit k % 64 of word k / 64.
struct PdqHash {
  std::array<uint64_t, 4> words{};
  bool operator==(const PdqHash&) const = default;
  // 64 lower-case hexadecimal digits, highest bit first, as hash lists write it.
  std::string hex() const;
  // Empty when `text` is not 64 hexadecimal digits.
  static std::optional<PdqHash> from_hex(std::string_view text);
};

// Differing bits, 0..256; pictures match at 31 or fewer.
int pdq_distance(const PdqHash& a, const PdqHash& b);

struct PdqResult {
  PdqHash hash;
  int quality = 0;  // 0..100; below 50 the picture has too little detail to match anything
};
PdqResult pdq_hash(const Image& image);

// The hashes of the picture itself, turned by 90, 180 and 270 degrees, and of their mirror images,
// from one pass.
struct PdqVariants {
  std::array<PdqHash, 8> hashes;  // [0] is the picture as it is
  int quality = 0;
};
PdqVariants pdq_variants(const Image& image);

}  // namespace parapet

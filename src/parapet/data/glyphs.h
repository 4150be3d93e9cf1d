// Glyph pictures: open emoji art rasterised once, kept ready at the sizes a scene uses.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/data/glyph_table.h"

namespace parapet {

inline constexpr int kGlyphBase = 64;                                // pixels, as rasterised
inline constexpr std::array<int, 4> kGlyphSizes = {28, 30, 32, 34};  // pixels, as drawn

struct GlyphOptions {
  std::filesystem::path assets = "node_modules";  // holds @iconify-json/<style>/icons.json
  std::filesystem::path cache = ".cache/glyphs";  // rendered glyphs; empty = no cache
};

// All glyphs in all styles. Immutable, so threads may share it.
class GlyphAtlas {
 public:
  // Reads the cache, or rasterises the icon sets (about 2 s) and writes it. The cache is keyed by
  // the content of the icon sets. DataError names a missing package and `make setup`.
  static std::shared_ptr<const GlyphAtlas> load(const GlyphOptions& options,
                                                const Context& context = {});

  // From base pictures alone: kStyles * kGlyphs squares of kGlyphBase pixels, premultiplied RGBA,
  // glyphs of one style together. UsageError on another size.
  static std::shared_ptr<const GlyphAtlas> from_base(std::vector<uint8_t> pictures);

  // Premultiplied RGBA, size * size * 4 bytes, rows top to bottom; `size` is kGlyphBase or one of
  // kGlyphSizes.
  std::span<const uint8_t> pixels(int style, int glyph, int size) const;
  // SHA-256 of all pixels: part of the identity of a world.
  const std::string& fingerprint() const { return fingerprint_; }

 private:
  void sign();
  std::array<std::vector<uint8_t>, 1 + kGlyphSizes.size()> planes_;  // base first
  std::string fingerprint_;
};

// Area average of a premultiplied RGBA square in exact integer arithmetic, so that the result is
// the same on every machine. `from` >= `to`.
std::vector<uint8_t> shrink_rgba(std::span<const uint8_t> pixels, int from, int to);

}  // namespace parapet

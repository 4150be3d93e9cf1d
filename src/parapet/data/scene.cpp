#include "parapet/data/scene.h"

#include <algorithm>

namespace parapet {
namespace {

constexpr int kQuadrant = kSceneSize / 2;
constexpr int kCentreJitter = 2;  // pixels
constexpr int kColourJitter = 5;  // levels

// Exact rounding of x / 255 for x in 0..65535.
inline uint32_t divide_255(uint32_t x) { return (x + 128 + ((x + 128) >> 8)) >> 8; }

void blend_row(const uint8_t* source, int step, int count, uint8_t* target) {
  for (int x = 0; x < count; ++x, source += step, target += 3) {
    const uint32_t alpha = source[3];
    if (alpha == 0) continue;
    const uint32_t keep = 255 - alpha;
    for (int c = 0; c < 3; ++c)
      target[c] =
          static_cast<uint8_t>(std::min<uint32_t>(255, source[c] + divide_255(target[c] * keep)));
  }
}

void draw_sticker(const Sticker& sticker, const GlyphAtlas& atlas, Image& image) {
  const auto pixels = atlas.pixels(sticker.style, sticker.glyph, sticker.size);
  for (int y = 0; y < sticker.size; ++y) {
    const uint8_t* row = pixels.data() + static_cast<size_t>(y) * sticker.size * 4;
    uint8_t* target =
        image.rgb.data() +
        (static_cast<size_t>(sticker.top + y) * kSceneSize + static_cast<size_t>(sticker.left)) * 3;
    if (sticker.mirror)
      blend_row(row + static_cast<size_t>(sticker.size - 1) * 4, -4, sticker.size, target);
    else
      blend_row(row, 4, sticker.size, target);
  }
}

}  // namespace

int draw_sticker_style(int scene_style, Random& layout) {
  const bool other = layout.below(2) == 0;
  const auto shift = static_cast<int>(1 + layout.below(kStyles - 2));
  if (scene_style == kHeldStyle || !other) return scene_style;
  return (scene_style + shift) % (kStyles - 1);
}

std::array<uint8_t, 3> draw_background(int colour, Random& layout) {
  auto rgb = colour_rgb(colour);
  for (auto& channel : rgb) {
    const auto jittered = channel + layout.between(-kColourJitter, kColourJitter);
    channel = static_cast<uint8_t>(std::clamp<int64_t>(jittered, 0, 255));
  }
  return rgb;
}

Sticker make_sticker(int glyph, int style, int quadrant, Random& layout) {
  Sticker sticker;
  sticker.glyph = glyph;
  sticker.style = style;
  sticker.quadrant = quadrant;
  sticker.size = kGlyphSizes[layout.below(kGlyphSizes.size())];
  const auto place = [&](int cell) {
    const auto centre = cell * kQuadrant + kQuadrant / 2 +
                        static_cast<int>(layout.between(-kCentreJitter, kCentreJitter));
    return std::clamp(centre - sticker.size / 2, 0, kSceneSize - sticker.size);
  };
  sticker.left = place(quadrant % 2);
  sticker.top = place(quadrant / 2);
  sticker.mirror = layout.below(2) == 0;
  return sticker;
}

Image draw_scene(const Scene& scene, const GlyphAtlas& atlas) {
  Image image;
  image.width = kSceneSize;
  image.height = kSceneSize;
  image.rgb.resize(static_cast<size_t>(kSceneSize) * kSceneSize * 3);
  for (size_t i = 0; i < image.rgb.size(); i += 3)
    std::copy(scene.background.begin(), scene.background.end(), &image.rgb[i]);
  for (const Sticker& sticker : scene.stickers) draw_sticker(sticker, atlas, image);
  return image;
}

}  // namespace parapet

// A scene: a 2 x 2 sticker sheet of at most one glyph per quadrant, drawn in integer arithmetic.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "parapet/core/random.h"
#include "parapet/data/glyphs.h"
#include "parapet/formats/image.h"

namespace parapet {

inline constexpr int kSceneSize = 64;  // pixels; a quadrant has 32

// Where and how one glyph is drawn.
struct Sticker {
  int glyph = 0;
  int style = 0;
  int size = 32;     // one of kGlyphSizes
  int quadrant = 0;  // 0 top left, 1 top right, 2 bottom left, 3 bottom right
  int left = 0;      // pixels, kept so that the glyph lies inside the image
  int top = 0;
  bool mirror = false;
};

struct Scene {
  int colour = 0;  // see colour_name
  std::array<uint8_t, 3> background{};
  int subject = 0;  // glyph id
  int object = -1;  // glyph id, safe or (replacement) unsafe; -1 in a single-glyph scene
  int place = -1;   // glyph id; -1 = none
  int unsafe = -1;  // glyph id of the unsafe element; -1 = none
  int style = 0;    // main style
  std::vector<Sticker> stickers;  // in drawing order; an injected one comes last
};

// Draws size, position (centre jitter of 2 px) and mirror from `layout`.
Sticker make_sticker(int glyph, int style, int quadrant, Random& layout);
// The scene's own style, or (half of the time, never in the held style) another trained one.
int draw_sticker_style(int scene_style, Random& layout);
// The pastel colour with up to 5 levels of jitter per channel.
std::array<uint8_t, 3> draw_background(int colour, Random& layout);

// 64 x 64. The same scene and atlas give the same bytes on every machine.
Image draw_scene(const Scene& scene, const GlyphAtlas& atlas);

}  // namespace parapet

// The 80 glyphs of the sample world, by role. All exist in the five art styles.
#pragma once
#include <array>
#include <span>
#include <string>
#include <string_view>

namespace parapet {

inline constexpr int kSubjects = 24;
inline constexpr int kPlaces = 8;
inline constexpr int kObjects = 24;  // safe, and as many unsafe
inline constexpr int kGlyphs = 80;
inline constexpr int kFirstPlace = kSubjects;
inline constexpr int kFirstSafe = kFirstPlace + kPlaces;
inline constexpr int kFirstUnsafe = kFirstSafe + kObjects;
inline constexpr int kStyles = 5;
inline constexpr int kHeldStyle = 4;  // fluent-emoji-flat: never in training
inline constexpr int kCategories = 7;
inline constexpr int kColours = 8;

// Slugs as in the icon sets: 0-23 subjects, 24-31 places, 32-55 safe, 56-79 unsafe objects.
std::string_view glyph_slug(int glyph);
// -1 when there is none.
int glyph_by_slug(std::string_view slug);
// twemoji, noto, openmoji, emojione, fluent-emoji-flat (the held one last).
std::string_view style_name(int style);
// weapon, death, alcohol, drugs, gesture, fire, hazard.
std::string_view category_name(int category);
// Category of an unsafe glyph; -1 for the others.
int glyph_category(int glyph);
// Unsafe glyph ids of one category.
std::span<const int> category_glyphs(int category);
// English colour word; backgrounds are half way to white.
std::string_view colour_name(int colour);
std::array<uint8_t, 3> colour_rgb(int colour);
inline bool is_unsafe_glyph(int glyph) { return glyph >= kFirstUnsafe; }

// Held-out combinations: (31 s + 17 o) mod 7 = 0 with o = 0-23 safe, 24-47 unsafe. Training holds
// none of them; test scenes hold only them.
bool is_held_combination(int subject, int object_glyph);

}  // namespace parapet

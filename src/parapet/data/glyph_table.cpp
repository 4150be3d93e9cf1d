#include "parapet/data/glyph_table.h"

#include <cstdint>
#include <vector>

namespace parapet {
namespace {

constexpr std::array<std::string_view, kGlyphs> kSlugs = {
    // subjects
    "dog", "cat", "horse", "cow", "pig", "rabbit", "lion", "panda", "fox", "elephant", "penguin",
    "owl", "duck", "turtle", "octopus", "crab", "butterfly", "snowman", "baby", "boy", "girl",
    "police-officer", "princess", "santa-claus",
    // places
    "house", "church", "castle", "school", "palm-tree", "tent", "mountain", "ferris-wheel",
    // safe objects
    "red-apple", "banana", "watermelon", "pizza", "birthday-cake", "doughnut", "candy",
    "hot-beverage", "glass-of-milk", "baby-bottle", "soccer-ball", "tennis", "umbrella", "key",
    "guitar", "open-book", "camera", "backpack", "balloon", "wrapped-gift", "trumpet", "sunflower",
    "bell", "hammer",
    // unsafe objects, by category
    "kitchen-knife", "dagger", "bomb", "crossed-swords", "bow-and-arrow",    // weapon
    "skull", "coffin", "skull-and-crossbones", "funeral-urn",                // death
    "beer-mug", "wine-glass", "cocktail-glass", "bottle-with-popping-cork",  // alcohol
    "cigarette", "syringe", "pill",                                          // drugs
    "middle-finger", "thumbs-down", "oncoming-fist",                         // gesture
    "fire", "collision",                                                     // fire
    "biohazard", "radioactive", "oil-drum"};                                 // hazard

constexpr std::array<std::string_view, kStyles> kStyleNames = {"twemoji", "noto", "openmoji",
                                                               "emojione", "fluent-emoji-flat"};
constexpr std::array<std::string_view, kCategories> kCategoryNames = {
    "weapon", "death", "alcohol", "drugs", "gesture", "fire", "hazard"};
constexpr std::array<int, kCategories + 1> kCategoryStart = {56, 61, 65, 69, 72, 75, 77, 80};

struct Colour {
  std::string_view name;
  std::array<uint8_t, 3> rgb;
};
constexpr std::array<Colour, kColours> kColourTable = {{{"red", {236, 152, 148}},
                                                        {"yellow", {247, 229, 160}},
                                                        {"green", {168, 214, 172}},
                                                        {"blue", {158, 184, 232}},
                                                        {"purple", {200, 168, 222}},
                                                        {"pink", {253, 205, 224}},
                                                        {"gray", {182, 182, 182}},
                                                        {"white", {246, 247, 247}}}};

const std::array<int, kObjects>& unsafe_ids() {
  static const std::array<int, kObjects> ids = [] {
    std::array<int, kObjects> all{};
    for (int i = 0; i < kObjects; ++i) all[static_cast<size_t>(i)] = kFirstUnsafe + i;
    return all;
  }();
  return ids;
}

}  // namespace

std::string_view glyph_slug(int glyph) { return kSlugs.at(static_cast<size_t>(glyph)); }

int glyph_by_slug(std::string_view slug) {
  for (int i = 0; i < kGlyphs; ++i)
    if (kSlugs[static_cast<size_t>(i)] == slug) return i;
  return -1;
}

std::string_view style_name(int style) { return kStyleNames.at(static_cast<size_t>(style)); }

std::string_view category_name(int category) {
  return kCategoryNames.at(static_cast<size_t>(category));
}

int glyph_category(int glyph) {
  if (!is_unsafe_glyph(glyph)) return -1;
  int category = 0;
  while (kCategoryStart[static_cast<size_t>(category) + 1] <= glyph) ++category;
  return category;
}

std::span<const int> category_glyphs(int category) {
  const auto c = static_cast<size_t>(category);
  const auto first = static_cast<size_t>(kCategoryStart.at(c) - kFirstUnsafe);
  const auto count = static_cast<size_t>(kCategoryStart.at(c + 1) - kCategoryStart.at(c));
  return std::span<const int>(unsafe_ids()).subspan(first, count);
}

std::string_view colour_name(int colour) {
  return kColourTable.at(static_cast<size_t>(colour)).name;
}

std::array<uint8_t, 3> colour_rgb(int colour) {
  return kColourTable.at(static_cast<size_t>(colour)).rgb;
}

bool is_held_combination(int subject, int object_glyph) {
  return (31 * subject + 17 * (object_glyph - kFirstSafe)) % 7 == 0;
}

}  // namespace parapet

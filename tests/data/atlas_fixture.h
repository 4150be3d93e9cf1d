// The glyph atlas that tests share; rendered once into the build's cache.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "parapet/data/glyphs.h"
#include "parapet/data/world.h"

namespace parapet::testing {

inline std::shared_ptr<const GlyphAtlas> shared_atlas() {
  static const auto atlas = [] {
    GlyphOptions options;
    options.assets = std::filesystem::path(PARAPET_SOURCE_DIR) / "node_modules";
    options.cache = std::filesystem::path(PARAPET_SOURCE_DIR) / ".cache/glyphs";
    return GlyphAtlas::load(options);
  }();
  return atlas;
}

inline SampleWorld make_world(int64_t seed = 7, std::vector<std::string> languages = {"en"}) {
  WorldOptions options;
  options.seed = seed;
  options.languages = std::move(languages);
  return SampleWorld(options, shared_atlas());
}

}  // namespace parapet::testing

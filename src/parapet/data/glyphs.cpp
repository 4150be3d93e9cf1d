#include "parapet/data/glyphs.h"

#include <algorithm>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/threads.h"
#include "parapet/data/icon_set.h"
#include "parapet/formats/safetensors.h"

namespace parapet {
namespace {

// Raise when rasterising or shrinking changes what a glyph looks like.
constexpr std::string_view kCacheVersion = "1";

size_t bytes_of(int size) { return static_cast<size_t>(size) * size * 4; }

std::string plane_name(int size) { return "rgba_" + std::to_string(size); }

int plane_size(size_t plane) { return plane == 0 ? kGlyphBase : kGlyphSizes[plane - 1]; }

std::string cache_key(const GlyphOptions& options) {
  Sha256 hash;
  hash.update(kCacheVersion);
  for (int style = 0; style < kStyles; ++style) {
    const auto file = icon_file(options.assets, style_name(style));
    if (!std::filesystem::exists(file)) IconSet::open(options.assets, style_name(style));
    hash.update(sha256_file(file));
  }
  for (int glyph = 0; glyph < kGlyphs; ++glyph) hash.update(glyph_slug(glyph)).update("\n");
  return hash.hex().substr(0, 32);
}

}  // namespace

std::vector<uint8_t> shrink_rgba(std::span<const uint8_t> pixels, int from, int to) {
  // Both axes in units of 1 / (from * to): source pixel x covers [x * to, (x + 1) * to), target
  // pixel X covers [X * from, (X + 1) * from).
  std::vector<uint8_t> out(bytes_of(to));
  const int64_t area = static_cast<int64_t>(from) * from;
  const auto overlap = [&](int source, int target) {
    return std::min((source + 1) * to, (target + 1) * from) - std::max(source * to, target * from);
  };
  for (int ty = 0; ty < to; ++ty)
    for (int tx = 0; tx < to; ++tx) {
      int64_t sum[4] = {0, 0, 0, 0};
      for (int y = ty * from / to; y < from && y * to < (ty + 1) * from; ++y)
        for (int x = tx * from / to; x < from && x * to < (tx + 1) * from; ++x) {
          const int64_t weight = static_cast<int64_t>(overlap(y, ty)) * overlap(x, tx);
          const uint8_t* p = &pixels[(static_cast<size_t>(y) * from + x) * 4];
          for (int c = 0; c < 4; ++c) sum[c] += weight * p[c];
        }
      uint8_t* p = &out[(static_cast<size_t>(ty) * to + tx) * 4];
      for (int c = 0; c < 4; ++c) p[c] = static_cast<uint8_t>((sum[c] + area / 2) / area);
    }
  return out;
}

namespace {

using Planes = std::array<std::vector<uint8_t>, 1 + kGlyphSizes.size()>;

std::vector<uint8_t> rasterise_all(const GlyphOptions& options, const Context& context) {
  std::vector<uint8_t> pictures(kStyles * kGlyphs * bytes_of(kGlyphBase));
  Progress progress(context, "glyphs", kStyles * kGlyphs, "glyphs");
  for (int style = 0; style < kStyles; ++style) {
    const IconSet set = IconSet::open(options.assets, style_name(style));
    parallel_items(kGlyphs, 0, [&](int64_t glyph) {
      const auto slug = glyph_slug(static_cast<int>(glyph));
      const auto picture = rasterise_svg(set.svg(slug), kGlyphBase,
                                         std::string(style_name(style)) + "/" + std::string(slug));
      const auto slot = static_cast<size_t>(style * kGlyphs + glyph);
      std::copy(picture.begin(), picture.end(),
                pictures.begin() + static_cast<int64_t>(slot * bytes_of(kGlyphBase)));
    });
    progress.update((style + 1) * kGlyphs);
  }
  return pictures;
}

Planes make_planes(std::vector<uint8_t> pictures) {
  Planes planes;
  planes[0] = std::move(pictures);
  for (size_t plane = 1; plane < planes.size(); ++plane)
    planes[plane].resize(kStyles * kGlyphs * bytes_of(plane_size(plane)));
  parallel_items(kStyles * kGlyphs, 0, [&](int64_t slot) {
    const auto picture = std::span<const uint8_t>(planes[0]).subspan(
        static_cast<size_t>(slot) * bytes_of(kGlyphBase), bytes_of(kGlyphBase));
    for (size_t plane = 1; plane < planes.size(); ++plane) {
      const auto scaled = shrink_rgba(picture, kGlyphBase, plane_size(plane));
      std::copy(scaled.begin(), scaled.end(),
                planes[plane].begin() + slot * static_cast<int64_t>(scaled.size()));
    }
  });
  return planes;
}

void save_planes(const std::filesystem::path& file, Planes& planes) {
  std::vector<std::pair<std::string, TensorView>> tensors;
  for (size_t plane = 0; plane < planes.size(); ++plane) {
    const int size = plane_size(plane);
    TensorView view;
    view.dtype = DType::kU8;
    view.shape = {kStyles, kGlyphs, size, size, 4};
    view.data = std::as_writable_bytes(std::span<uint8_t>(planes[plane]));
    tensors.emplace_back(plane_name(size), view);
  }
  std::filesystem::create_directories(file.parent_path());
  write_safetensors(file, tensors);
}

// False when the file is not what this version writes; it is then made again.
bool load_planes(const std::filesystem::path& file, Planes& planes) {
  try {
    const auto archive = TensorArchive::open(file);
    for (size_t plane = 0; plane < planes.size(); ++plane) {
      const int size = plane_size(plane);
      const TensorView* view = archive.find(plane_name(size));
      const size_t expected = kStyles * kGlyphs * bytes_of(size);
      if (view == nullptr || view->dtype != DType::kU8 || view->data.size() != expected)
        return false;
      const auto* bytes = reinterpret_cast<const uint8_t*>(view->data.data());
      planes[plane].assign(bytes, bytes + expected);
    }
    return true;
  } catch (const DataError&) {
    return false;
  }
}

}  // namespace

std::shared_ptr<const GlyphAtlas> GlyphAtlas::load(const GlyphOptions& options,
                                                   const Context& context) {
  auto atlas = std::make_shared<GlyphAtlas>();
  const auto file = options.cache.empty() ? std::filesystem::path()
                                          : options.cache / (cache_key(options) + ".safetensors");
  const bool cached = !file.empty() && std::filesystem::exists(file);
  if (!cached || !load_planes(file, atlas->planes_)) {
    if (cached) context.warn("the glyph cache " + file.string() + " is damaged; making it again");
    atlas->planes_ = make_planes(rasterise_all(options, context));
    if (!file.empty()) save_planes(file, atlas->planes_);
  }
  atlas->sign();
  return atlas;
}

std::shared_ptr<const GlyphAtlas> GlyphAtlas::from_base(std::vector<uint8_t> pictures) {
  if (pictures.size() != kStyles * kGlyphs * bytes_of(kGlyphBase))
    throw UsageError("GlyphAtlas::from_base: wrong number of bytes");
  auto atlas = std::make_shared<GlyphAtlas>();
  atlas->planes_ = make_planes(std::move(pictures));
  atlas->sign();
  return atlas;
}

void GlyphAtlas::sign() {
  const auto& base = planes_[0];
  fingerprint_ = sha256_hex({reinterpret_cast<const char*>(base.data()), base.size()});
}

std::span<const uint8_t> GlyphAtlas::pixels(int style, int glyph, int size) const {
  size_t plane = 0;
  while (plane < planes_.size() && plane_size(plane) != size) ++plane;
  const size_t slot = static_cast<size_t>(style) * kGlyphs + static_cast<size_t>(glyph);
  return std::span<const uint8_t>(planes_.at(plane)).subspan(slot * bytes_of(size), bytes_of(size));
}

}  // namespace parapet

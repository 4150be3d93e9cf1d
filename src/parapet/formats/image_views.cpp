#include "parapet/formats/image_views.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "parapet/formats/image_codecs.h"

namespace parapet {
namespace {

using image_detail::Decoded;

// A range of 16-bit samples below this shows next to nothing in 8 bits.
constexpr int kNarrow = 0x4000;

bool one_colour(const Image& image) {
  const auto& rgb = image.rgb;
  return rgb.size() < 6 || std::memcmp(rgb.data(), rgb.data() + 3, rgb.size() - 3) == 0;
}

// Enough for reading text and for any encoder.
constexpr int64_t kMaxPixels = 4'000'000;

Image at_most(Image image) {
  if (image.width * image.height <= kMaxPixels) return image;
  const double scale =
      std::sqrt(static_cast<double>(kMaxPixels) / static_cast<double>(image.width * image.height));
  const auto side = [&](int64_t pixels) {
    return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(pixels) * scale));
  };
  return resize(image, side(image.width), side(image.height), Resample::kBilinear);
}

void add(std::vector<ImageView>& views, const char* name, Image image) {
  if (one_colour(image)) return;
  const bool shown = std::any_of(views.begin(), views.end(), [&](const ImageView& view) {
    return view.image.rgb == image.rgb;
  });
  if (!shown) views.push_back({name, at_most(std::move(image))});
}

template <class Level>
Image grey_image(const Image& like, Level level) {
  Image out{like.width, like.height, std::vector<uint8_t>(like.rgb.size())};
  for (size_t i = 0; i < out.rgb.size() / 3; ++i) std::memset(&out.rgb[3 * i], level(i), 3);
  return out;
}

void add_grey16(std::vector<ImageView>& views, const std::vector<uint16_t>& samples) {
  const auto clipped = [&](size_t i) { return std::min<int>(samples[i], 255); };
  add(views, "clipped", grey_image(views[0].image, clipped));
  const auto [low, high] = std::minmax_element(samples.begin(), samples.end());
  const int from = *low, range = *high - *low;
  if (range == 0 || range >= kNarrow) return;
  const auto stretched = [&](size_t i) { return (samples[i] - from) * 255 / range; };
  add(views, "stretched", grey_image(views[0].image, stretched));
}

}  // namespace

std::vector<ImageView> decode_image_views(std::string_view bytes, std::string_view source,
                                          const DecodeOptions& options) {
  auto [stored, orientation] = image_detail::decode_stored(bytes, source, options);
  const std::vector<uint8_t>& alpha = stored.alpha;
  std::vector<ImageView> views;
  if (alpha.empty()) {
    views.push_back({"", std::move(stored.image)});
  } else {
    views.push_back({"", image_detail::lay_over(stored.image, alpha, 255)});
    add(views, "black", image_detail::lay_over(stored.image, alpha, 0));
    add(views, "opaque", std::move(stored.image));
    const auto level = [&](size_t i) { return int{alpha[i]}; };
    add(views, "alpha", grey_image(views[0].image, level));
  }
  if (!stored.grey16.empty()) add_grey16(views, stored.grey16);
  for (ImageView& view : views)
    view.image = image_detail::apply_orientation(std::move(view.image), orientation);
  return views;
}

}  // namespace parapet

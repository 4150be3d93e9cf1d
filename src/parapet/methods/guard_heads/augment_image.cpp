#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "parapet/core/error.h"
#include "parapet/methods/guard_heads/augment.h"

namespace parapet {
namespace {

// Columns of a 5x7 dot font, lowest bit on top: A-Z, then 0-9.
constexpr std::array<std::array<uint8_t, 5>, 36> kFont = {{
    {0x7e, 0x09, 0x09, 0x09, 0x7e}, {0x7f, 0x49, 0x49, 0x49, 0x36}, {0x3e, 0x41, 0x41, 0x41, 0x22},
    {0x7f, 0x41, 0x41, 0x41, 0x3e}, {0x7f, 0x49, 0x49, 0x49, 0x41}, {0x7f, 0x09, 0x09, 0x09, 0x01},
    {0x3e, 0x41, 0x49, 0x49, 0x3a}, {0x7f, 0x08, 0x08, 0x08, 0x7f}, {0x00, 0x41, 0x7f, 0x41, 0x00},
    {0x20, 0x40, 0x41, 0x3f, 0x01}, {0x7f, 0x08, 0x14, 0x22, 0x41}, {0x7f, 0x40, 0x40, 0x40, 0x40},
    {0x7f, 0x02, 0x0c, 0x02, 0x7f}, {0x7f, 0x04, 0x08, 0x10, 0x7f}, {0x3e, 0x41, 0x41, 0x41, 0x3e},
    {0x7f, 0x09, 0x09, 0x09, 0x06}, {0x3e, 0x41, 0x51, 0x21, 0x5e}, {0x7f, 0x09, 0x19, 0x29, 0x46},
    {0x26, 0x49, 0x49, 0x49, 0x32}, {0x01, 0x01, 0x7f, 0x01, 0x01}, {0x3f, 0x40, 0x40, 0x40, 0x3f},
    {0x1f, 0x20, 0x40, 0x20, 0x1f}, {0x7f, 0x20, 0x18, 0x20, 0x7f}, {0x63, 0x14, 0x08, 0x14, 0x63},
    {0x03, 0x04, 0x78, 0x04, 0x03}, {0x61, 0x51, 0x49, 0x45, 0x43}, {0x3e, 0x51, 0x49, 0x45, 0x3e},
    {0x00, 0x42, 0x7f, 0x40, 0x00}, {0x62, 0x51, 0x49, 0x49, 0x46}, {0x22, 0x41, 0x49, 0x49, 0x36},
    {0x18, 0x14, 0x12, 0x7f, 0x10}, {0x27, 0x45, 0x45, 0x45, 0x39}, {0x3c, 0x4a, 0x49, 0x49, 0x30},
    {0x01, 0x71, 0x09, 0x05, 0x03}, {0x36, 0x49, 0x49, 0x49, 0x36}, {0x06, 0x49, 0x49, 0x29, 0x1e},
}};

constexpr std::array<std::string_view, 8> kWords = {"PHOTO", "HELLO", "SUNDAY", "2024",
                                                    "NICE",  "HOME",  "TODAY",  "MY PIC"};

uint8_t to_byte(double value) {
  return static_cast<uint8_t>(std::clamp(std::lround(value), 0l, 255l));
}

Image mirrored(const Image& image) {
  Image out = image;
  for (int64_t y = 0; y < image.height; ++y)
    for (int64_t x = 0; x < image.width; ++x)
      for (int64_t c = 0; c < 3; ++c)
        out.rgb[(y * image.width + x) * 3 + c] =
            image.rgb[(y * image.width + image.width - 1 - x) * 3 + c];
  return out;
}

Image random_crop(const Image& image, Random& random) {
  const auto part = [&](int64_t side) {
    return std::max<int64_t>(
        1, std::llround(static_cast<double>(side) * (0.8 + 0.2 * random.uniform())));
  };
  const int64_t width = part(image.width), height = part(image.height);
  const int64_t left = random.between(0, image.width - width);
  const int64_t top = random.between(0, image.height - height);
  return resize_bicubic(crop(image, left, top, width, height), image.width, image.height);
}

Image overlay_word(const Image& image, Random& random) {
  const std::string_view word = kWords[random.below(kWords.size())];
  const int64_t scale = std::max<int64_t>(1, image.width / 96);
  const int64_t width = 6 * scale * static_cast<int64_t>(word.size());
  const int64_t left = random.between(0, std::max<int64_t>(0, image.width - width));
  const int64_t top = random.between(0, std::max<int64_t>(0, image.height - 7 * scale));
  return draw_word(image, word, left, top, scale, random.chance(0.5) ? 0 : 255);
}

// One pass of [1 2 1] / 4 along a line of `count` pixels, `stride` values apart; edges repeat.
void smooth_line(uint8_t* line, int64_t count, int64_t stride) {
  int previous = line[0];
  for (int64_t i = 0; i < count; ++i) {
    const int here = line[i * stride], next = line[std::min(i + 1, count - 1) * stride];
    line[i * stride] = static_cast<uint8_t>((previous + 2 * here + next + 2) / 4);
    previous = here;
  }
}

}  // namespace

Image shift_colours(const Image& image, double hue_degrees, double saturation, double brightness,
                    double contrast) {
  // Rotation about the grey axis, then a mix with grey.
  const double angle = hue_degrees * std::numbers::pi / 180, c = std::cos(angle);
  const double s = std::sin(angle) / std::sqrt(3.0), third = (1 - c) / 3;
  const double turn[3][3] = {{c + third, third - s, third + s},
                             {third + s, c + third, third - s},
                             {third - s, third + s, c + third}};
  Image out = image;
  for (size_t i = 0; i + 2 < image.rgb.size(); i += 3) {
    double rgb[3];
    for (int k = 0; k < 3; ++k)
      rgb[k] =
          turn[k][0] * image.rgb[i] + turn[k][1] * image.rgb[i + 1] + turn[k][2] * image.rgb[i + 2];
    const double grey = (rgb[0] + rgb[1] + rgb[2]) / 3;
    for (int k = 0; k < 3; ++k) {
      const double coloured = grey + saturation * (rgb[k] - grey);
      out.rgb[i + static_cast<size_t>(k)] =
          to_byte((coloured - 127.5) * contrast + 127.5 * brightness);
    }
  }
  return out;
}

Image flatten_tones(const Image& image, int levels) {
  if (levels < 2 || levels > 256) throw UsageError("flatten_tones: levels must be in 2..256");
  Image out = image;
  const double step = 255.0 / (levels - 1);
  for (uint8_t& value : out.rgb) value = to_byte(std::round(value / step) * step);
  return out;
}

Image blur_image(const Image& image, int passes) {
  Image out = image;
  for (int pass = 0; pass < passes; ++pass)
    for (int64_t c = 0; c < 3; ++c) {
      for (int64_t y = 0; y < out.height; ++y)
        smooth_line(out.rgb.data() + y * out.width * 3 + c, out.width, 3);
      for (int64_t x = 0; x < out.width; ++x)
        smooth_line(out.rgb.data() + x * 3 + c, out.height, out.width * 3);
    }
  return out;
}

Image draw_word(const Image& image, std::string_view word, int64_t left, int64_t top, int64_t scale,
                uint8_t grey) {
  Image out = image;
  const auto dot = [&](int64_t x0, int64_t y0) {
    for (int64_t y = std::max<int64_t>(0, y0); y < std::min(out.height, y0 + scale); ++y)
      for (int64_t x = std::max<int64_t>(0, x0); x < std::min(out.width, x0 + scale); ++x)
        std::fill_n(out.rgb.begin() + (y * out.width + x) * 3, 3, grey);
  };
  for (size_t i = 0; i < word.size(); ++i) {
    const char letter = word[i];
    const bool capital = letter >= 'A' && letter <= 'Z', digit = letter >= '0' && letter <= '9';
    if (!capital && !digit) continue;  // a blank
    const auto& columns = kFont[static_cast<size_t>(capital ? letter - 'A' : letter - '0' + 26)];
    for (int64_t column = 0; column < 5; ++column)
      for (int64_t row = 0; row < 7; ++row)
        if (columns[static_cast<size_t>(column)] >> row & 1)
          dot(left + (static_cast<int64_t>(i) * 6 + column) * scale, top + row * scale);
  }
  return out;
}

Image augment_image(const Image& image, const AugmentOptions& options, Random& random) {
  Image out = image;
  if (random.chance(options.flip)) out = mirrored(out);
  if (random.chance(options.crop)) out = random_crop(out, random);
  if (random.chance(options.colour)) {
    const double hue = 40 * (2 * random.uniform() - 1), saturation = 0.5 + random.uniform();
    const double brightness = 0.8 + 0.4 * random.uniform();
    out = shift_colours(out, hue, saturation, brightness, 0.8 + 0.4 * random.uniform());
  }
  if (random.chance(options.flatten))
    out = flatten_tones(out, static_cast<int>(random.between(4, 8)));
  if (random.chance(options.overlay)) out = overlay_word(out, random);
  if (random.chance(options.blur)) out = blur_image(out, static_cast<int>(random.between(1, 2)));
  if (random.chance(options.jpeg))
    out = decode_image(encode_jpeg(out, static_cast<int>(random.between(25, 90))), "augmentation");
  return out;
}

void AugmentOptions::visit(OptionList& list) {
  list.add("augment-flip", flip, "probability of mirroring an image");
  list.add("augment-crop", crop, "of cropping to 80-100 %");
  list.add("augment-jpeg", jpeg, "of JPEG at quality 25-90");
  list.add("augment-blur", blur, "of a light blur");
  list.add("augment-overlay", overlay, "of a harmless word drawn on the image");
  list.add("augment-colour", colour, "of other hue, saturation, brightness, contrast");
  list.add("augment-flatten", flatten, "of fewer tones");
  list.add("augment-typo", typo, "of a typing mistake in a text");
  list.add("augment-leet", leet, "of digits for letters");
  list.add("augment-spacing", spacing, "of blanks or dots inside a word");
  list.add("augment-case", letter_case, "of capitals");
}

void AugmentOptions::validate(Problems& problems) const {
  AugmentOptions copy = *this;
  OptionList list;
  copy.visit(list);
  for (const Option& option : list.options()) {
    const double value = *std::get<double*>(option.value);
    problems.require(value >= 0 && value <= 1, "--" + option.name, "must be in 0..1");
  }
}

}  // namespace parapet

// Changes to images and texts under which a harm label survives.
#pragma once
#include <string>
#include <string_view>

#include "parapet/core/options.h"
#include "parapet/core/random.h"
#include "parapet/formats/image.h"

namespace parapet {

// Probability of each change; several may apply to one sample.
struct AugmentOptions {
  double flip = 0.5;
  double crop = 0.3;     // random part of 80 to 100 % of each side
  double jpeg = 0.2;     // quality 25 to 90
  double blur = 0.2;     // binomial, one or two passes
  double overlay = 0.1;  // a harmless word drawn on the picture
  double colour = 0.5;   // hue, saturation, brightness, contrast: stands in for other styles
  double flatten = 0.2;  // fewer tones, as flat art has
  double typo = 0.15;    // two neighbouring letters swapped, one dropped or doubled
  double leet = 0.1;     // e -> 3, o -> 0, ...
  double spacing = 0.1;  // blanks or dots inside a word
  double letter_case = 0.1;
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

Image augment_image(const Image& image, const AugmentOptions& options, Random& random);
std::string augment_text(std::string_view text, const AugmentOptions& options, Random& random);

// Single steps, for tests and attacks.
Image shift_colours(const Image& image, double hue_degrees, double saturation, double brightness,
                    double contrast);
Image flatten_tones(const Image& image, int levels);  // 2..256 tones per channel
Image blur_image(const Image& image, int passes);
// Draws capital letters and digits from a built-in 5x7 font, `scale` pixels per dot, clipped.
Image draw_word(const Image& image, std::string_view word, int64_t left, int64_t top, int64_t scale,
                uint8_t grey);

}  // namespace parapet

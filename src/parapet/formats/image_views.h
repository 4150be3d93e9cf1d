// A picture as it may show elsewhere: what lies in transparency, or in samples of 16 bits, is seen
// on one ground or by one reader and not by another.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "parapet/formats/image.h"

namespace parapet {

struct ImageView {
  // Empty: the picture as decode_image gives it. "black": laid over black. "opaque": its colours
  // with the transparency left out. "alpha": its transparency as a grey picture. "clipped": 16-bit
  // grey with all above 255 as white, which is how Pillow converts it. "stretched": 16-bit grey of
  // a narrow range, stretched to the full one.
  std::string name;
  Image image;
};

// The picture first, then each other view that shows something (more than one colour) that no view
// before it does; these are made smaller where they have more than 4 million pixels. A picture that
// is opaque and not of 16-bit grey has one view and costs what decode_image costs. Errors as
// decode_image.
std::vector<ImageView> decode_image_views(std::string_view bytes, std::string_view source,
                                          const DecodeOptions& options = {});

}  // namespace parapet

// Making parts showable: blurred or pixelated pictures (whole or boxes), masked text.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "parapet/formats/image.h"

namespace parapet::guard {

struct Box {
  int64_t left = 0, top = 0, width = 0, height = 0;
};

// Grown by a share of its shorter side on every edge, cut at the picture's.
Box grow_box(const Box& box, double share, const Image& image);

// Three box blurs, which is near a Gaussian; `radius` in pixels, >= 1. Only inside the box.
void blur_box(Image& image, const Box& box, int64_t radius);
// Squares of `size` pixels of their mean colour.
void pixelate_box(Image& image, const Box& box, int64_t size);

// Replaces each character within the spans (bytes of valid UTF-8, any order, may overlap) by
// `mask`; white space stays.
std::string mask_spans(std::string_view text, std::vector<std::pair<size_t, size_t>> spans,
                       std::string_view mask);

}  // namespace parapet::guard

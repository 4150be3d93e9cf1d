// Pictures that show more than the one that is decoded.
#pragma once
#include <string_view>

namespace parapet::guard {

// Whether a GIF, WebP or PNG holds frames beside its first picture. False for what is none of these
// or ends before a second frame; never throws.
bool has_more_frames(std::string_view bytes);

}  // namespace parapet::guard

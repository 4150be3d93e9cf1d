// What a model is fed, as plain memory: pixels, padded token ids, and keys that tell equal content.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "parapet/formats/image.h"
#include "parapet/formats/image_processor.h"

namespace parapet {

// float32 [count, 3, height, width], normalised. Shared, so that a tensor may keep it without a
// copy; the rows are not initialised.
struct PixelRows {
  int64_t count = 0, height = 0, width = 0;
  std::shared_ptr<float[]> values;

  PixelRows() = default;
  PixelRows(int64_t count, const ImageProcessor& processor);
  int64_t row_size() const { return 3 * height * width; }
  float* row(int64_t i) const { return values.get() + i * row_size(); }
};

// int64 [count, width], padded on the right.
struct IdRows {
  int64_t count = 0, width = 0;
  std::vector<int64_t> values;

  IdRows() = default;
  IdRows(const std::vector<const std::vector<int32_t>*>& rows, int64_t pad);
  int64_t* row(int64_t i) { return values.data() + i * width; }
};

// Equal for equal content within one run, in any of its processes; not to be stored.
int64_t content_key(const std::string& text);
int64_t content_key(const Image& image);

// `image`, already of the processor's size, normalised to [3, height, width] at `chw`; mirrored =
// left and right exchanged.
void put_pixels(const ImageProcessor& processor, const Image& image, bool mirrored, float* chw);

}  // namespace parapet

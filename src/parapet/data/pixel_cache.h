// Decoded images by location, kept while they fit a budget, so that passes over the same data
// decode each image once.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "parapet/formats/image.h"
#include "parapet/formats/image_processor.h"

namespace parapet {

class PixelCache {
 public:
  // `budget` bytes of 8-bit pixels are kept.
  PixelCache(ImageProcessor processor, int64_t budget) : processor_(processor), budget_(budget) {}

  const ImageProcessor& processor() const { return processor_; }
  // Resized and cropped as the processor does. Thread-safe. DataError names a bad image.
  std::shared_ptr<const Image> get(const std::string& location);
  // Images decoded so far, those kept and those not.
  int64_t decoded() const;

 private:
  ImageProcessor processor_;
  int64_t budget_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const Image>> kept_;
  int64_t bytes_ = 0, decoded_ = 0;
};

}  // namespace parapet

#include "parapet/data/pixel_cache.h"

namespace parapet {

std::shared_ptr<const Image> PixelCache::get(const std::string& location) {
  {
    std::lock_guard lock(mutex_);
    if (const auto found = kept_.find(location); found != kept_.end()) return found->second;
  }
  DecodeOptions decode;
  decode.scale_for = processor_.scale_hint();
  auto image = std::make_shared<const Image>(processor_.to_pixels(load_image(location, decode)));
  std::lock_guard lock(mutex_);
  ++decoded_;
  const auto bytes = static_cast<int64_t>(image->rgb.size());
  if (bytes_ + bytes <= budget_ && kept_.emplace(location, image).second) bytes_ += bytes;
  return image;
}

int64_t PixelCache::decoded() const {
  std::lock_guard lock(mutex_);
  return decoded_;
}

}  // namespace parapet

#include "parapet/data/sample_keys.h"

#include <unordered_set>

#include "parapet/core/files.h"
#include "parapet/core/threads.h"
#include "parapet/formats/image.h"

namespace parapet {

std::vector<std::string> sample_keys(const std::vector<LabelSample>& samples,
                                     std::vector<std::string>* image_keys) {
  std::vector<std::string> keys(samples.size()), images(samples.size());
  parallel_items(static_cast<int64_t>(samples.size()), 0, [&](int64_t i) {
    const LabelSample& sample = samples[i];
    Sha256 hash;
    hash.update(std::to_string(sample.text.size()) + ":" + sample.text);
    if (!sample.image.empty()) {
      const std::string bytes = read_location(sample.image, int64_t{64} << 20);
      hash.update(bytes);
      if (image_keys != nullptr) images[i] = "image:" + sha256_hex(bytes).substr(0, 16);
    }
    keys[i] = hash.hex().substr(0, 16);
  });
  if (image_keys == nullptr) return keys;
  for (std::string& key : images)
    if (!key.empty()) image_keys->push_back(std::move(key));
  return keys;
}

void require_disjoint(std::span<const std::string> known, std::span<const std::string> test,
                      std::string_view source) {
  const std::unordered_set<std::string_view> seen(known.begin(), known.end());
  int64_t shared = 0;
  std::string first;
  for (const std::string& value : test) {
    if (!seen.contains(value)) continue;
    if (shared++ == 0) first = value;
  }
  if (shared > 0)
    throw SplitOverlap(source,
                       std::to_string(shared) +
                           " samples were already used to train or calibrate, the first is '" +
                           first + "'",
                       "Take a split that shares no sample with those.");
}

}  // namespace parapet

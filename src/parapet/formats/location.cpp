#include <array>
#include <list>
#include <mutex>
#include <unordered_map>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/strings.h"
#include "parapet/formats/image.h"
#include "parapet/formats/tar_index.h"

namespace parapet {
namespace {

// Shards named in data sets, indexed on first use. Bounded, so that a data set of thousands of
// shards keeps neither every index nor every map.
class ShardCache {
 public:
  std::shared_ptr<const TarIndex> get(const std::string& shard) {
    const std::lock_guard lock(mutex_);
    const auto it = shards_.find(shard);
    if (it != shards_.end()) {
      order_.splice(order_.begin(), order_, it->second.place);
      return it->second.index;
    }
    auto index = TarIndex::open(shard);
    order_.push_front(shard);
    shards_[shard] = {index, order_.begin()};
    if (shards_.size() > kMaxOpen) {
      shards_.erase(order_.back());
      order_.pop_back();
    }
    return index;
  }

 private:
  static constexpr size_t kMaxOpen = 64;
  struct Slot {
    std::shared_ptr<const TarIndex> index;
    std::list<std::string>::iterator place;
  };
  std::mutex mutex_;
  std::unordered_map<std::string, Slot> shards_;
  std::list<std::string> order_;  // most recent first
};

// "shard.tar#member" split at the '#' that follows a tar name; empty shard for a plain path.
std::pair<std::string, std::string> split_location(const std::string& location) {
  for (const std::string_view suffix : {".tar#", ".tar.gz#", ".tgz#", ".tar.zst#"}) {
    const size_t at = location.find(suffix);
    if (at != std::string::npos) {
      const size_t hash = at + suffix.size() - 1;
      return {location.substr(0, hash), location.substr(hash + 1)};
    }
  }
  return {};
}

ShardCache& shards() {
  static ShardCache cache;
  return cache;
}

}  // namespace

std::string read_location(const std::string& location, int64_t max_bytes) {
  const auto [shard, member] = split_location(location);
  if (shard.empty()) return read_file(location, max_bytes);
  return shards().get(shard)->read(member, max_bytes);
}

bool location_exists(const std::string& location) {
  std::error_code error;
  if (std::filesystem::is_regular_file(location, error)) return true;
  const auto [shard, member] = split_location(location);
  if (shard.empty()) return false;
  try {
    return shards().get(shard)->contains(member);
  } catch (const DataError&) {
    return false;
  }
}

Image load_image(const std::string& location, const DecodeOptions& options) {
  return decode_image(read_location(location, options.max_bytes), location, options);
}

}  // namespace parapet

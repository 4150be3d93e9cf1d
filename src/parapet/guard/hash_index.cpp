#include "parapet/guard/hash_index.h"

#include <algorithm>
#include <bit>

#include "parapet/core/error.h"
#include "parapet/core/target_clones.h"

namespace parapet::guard {
namespace {

constexpr size_t kLinear = 4096;  // below, a plain scan is faster
constexpr uint32_t kBuckets = 1u << 16;

uint32_t piece_of(const PdqHash& hash, size_t piece) {
  return static_cast<uint32_t>(hash.words[piece / 4] >> (piece % 4 * 16)) & 0xFFFF;
}

// The nearest of some (or, with no `items`, of the first `count`) hashes; `distance` is one more
// than what counts at first. The earlier of equals.
PARAPET_TARGET_CLONES("popcnt", "default")
void nearest_of(const PdqHash* hashes, const uint32_t* items, size_t count, const PdqHash& hash,
                int64_t& index, int& distance) {
  for (size_t i = 0; i < count; ++i) {
    const auto at = static_cast<int64_t>(items != nullptr ? items[i] : i);
    const PdqHash& other = hashes[at];
    int bits = 0;
    for (size_t w = 0; w < 4; ++w) bits += std::popcount(hash.words[w] ^ other.words[w]);
    if (bits < distance || (bits == distance && index >= 0 && at < index)) {
      index = at;
      distance = bits;
    }
  }
}

}  // namespace

HashIndex::HashIndex(std::vector<PdqHash> hashes) : hashes_(std::move(hashes)) {
  if (hashes_.size() >= (size_t{1} << 31))
    throw UsageError("a hash list may hold at most 2^31 - 1 hashes");
  if (hashes_.size() < kLinear) return;
  starts_.resize(kPieces);
  items_.resize(kPieces);
  for (size_t piece = 0; piece < kPieces; ++piece) {
    auto& starts = starts_[piece];
    starts.assign(kBuckets + 1, 0);
    for (const PdqHash& hash : hashes_) ++starts[piece_of(hash, piece) + 1];
    for (uint32_t i = 0; i < kBuckets; ++i) starts[i + 1] += starts[i];
    auto& items = items_[piece];
    items.resize(hashes_.size());
    std::vector<uint32_t> next(starts.begin(), starts.end() - 1);
    for (size_t i = 0; i < hashes_.size(); ++i)
      items[next[piece_of(hashes_[i], piece)]++] = static_cast<uint32_t>(i);
  }
}

HashIndex::Match HashIndex::scan(const PdqHash& hash, int max_distance) const {
  Match best{-1, max_distance + 1};
  nearest_of(hashes_.data(), nullptr, hashes_.size(), hash, best.index, best.distance);
  return best;
}

void HashIndex::gather(size_t piece, uint32_t value, std::vector<uint32_t>& candidates) const {
  const uint32_t* begin = items_[piece].data() + starts_[piece][value];
  const uint32_t* end = items_[piece].data() + starts_[piece][value + 1];
  for (const uint32_t* item = begin; item != end; ++item) {
    // The hashes lie anywhere in memory: many loads at once hide what each would wait.
    __builtin_prefetch(&hashes_[*item]);
    candidates.push_back(*item);
  }
}

HashIndex::Match HashIndex::nearest(const PdqHash& hash, int max_distance) const {
  max_distance = std::clamp(max_distance, 0, 63);
  if (starts_.empty()) return scan(hash, max_distance);
  Match best{-1, max_distance + 1};
  const int radius = max_distance / static_cast<int>(kPieces);
  std::vector<uint32_t> candidates;
  for (size_t piece = 0; piece < kPieces; ++piece) {
    candidates.clear();
    const uint32_t value = piece_of(hash, piece);
    gather(piece, value, candidates);
    for (uint32_t a = 1; radius >= 1 && a < kBuckets; a <<= 1) {
      gather(piece, value ^ a, candidates);
      for (uint32_t b = a << 1; radius >= 2 && b < kBuckets; b <<= 1) {
        gather(piece, value ^ a ^ b, candidates);
        for (uint32_t c = b << 1; radius >= 3 && c < kBuckets; c <<= 1)
          gather(piece, value ^ a ^ b ^ c, candidates);
      }
    }
    nearest_of(hashes_.data(), candidates.data(), candidates.size(), hash, best.index,
               best.distance);
  }
  return best;
}

}  // namespace parapet::guard

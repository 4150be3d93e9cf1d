#include "parapet/guard/hash_index.h"

#include <algorithm>

#include "parapet/core/error.h"

namespace parapet::guard {
namespace {

constexpr size_t kLinear = 4096;  // below, a plain scan is faster
constexpr uint32_t kBuckets = 1u << 16;

uint32_t piece_of(const PdqHash& hash, size_t piece) {
  return static_cast<uint32_t>(hash.words[piece / 4] >> (piece % 4 * 16)) & 0xFFFF;
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
  for (size_t i = 0; i < hashes_.size(); ++i) {
    const int distance = pdq_distance(hash, hashes_[i]);
    if (distance < best.distance) best = {static_cast<int64_t>(i), distance};
  }
  return best;
}

void HashIndex::probe(size_t piece, uint32_t value, const PdqHash& hash, int max_distance,
                      Match& best) const {
  const uint32_t* begin = items_[piece].data() + starts_[piece][value];
  const uint32_t* end = items_[piece].data() + starts_[piece][value + 1];
  for (const uint32_t* item = begin; item != end; ++item) {
    if (item + 8 < end) __builtin_prefetch(&hashes_[item[8]]);
    const int distance = pdq_distance(hash, hashes_[*item]);
    const auto index = static_cast<int64_t>(*item);
    if (distance < best.distance ||
        (distance == best.distance && distance <= max_distance && index < best.index))
      best = {index, distance};
  }
}

HashIndex::Match HashIndex::nearest(const PdqHash& hash, int max_distance) const {
  max_distance = std::clamp(max_distance, 0, 63);
  if (starts_.empty()) return scan(hash, max_distance);
  Match best{-1, max_distance + 1};
  const int radius = max_distance / static_cast<int>(kPieces);
  for (size_t piece = 0; piece < kPieces; ++piece) {
    const uint32_t value = piece_of(hash, piece);
    probe(piece, value, hash, max_distance, best);
    for (uint32_t a = 1; radius >= 1 && a < kBuckets; a <<= 1) {
      probe(piece, value ^ a, hash, max_distance, best);
      for (uint32_t b = a << 1; radius >= 2 && b < kBuckets; b <<= 1) {
        probe(piece, value ^ a ^ b, hash, max_distance, best);
        for (uint32_t c = b << 1; radius >= 3 && c < kBuckets; c <<= 1)
          probe(piece, value ^ a ^ b ^ c, hash, max_distance, best);
      }
    }
  }
  return best;
}

}  // namespace parapet::guard

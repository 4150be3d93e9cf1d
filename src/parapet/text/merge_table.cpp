#include "parapet/text/merge_table.h"

#include <algorithm>
#include <bit>
#include <queue>
#include <tuple>

namespace parapet::text {
namespace {

constexpr uint64_t kFree = ~uint64_t{0};
constexpr size_t kShortWord = 32;  // symbols; up to here the scan beats the heap

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

void MergeTable::reserve(size_t rules) {
  slots_.assign(std::bit_ceil(std::max<size_t>(rules * 2, 16)), {kFree, {kNoRank, -1}});
}

size_t MergeTable::slot_of(uint64_t pair) const {
  const size_t mask = slots_.size() - 1;
  const uint64_t mixed = pair * 0x9E3779B97F4A7C15u;
  size_t i = (mixed ^ mixed >> 29) & mask;
  while (slots_[i].pair != pair && slots_[i].pair != kFree) i = (i + 1) & mask;
  return i;
}

void MergeTable::add(int32_t left, int32_t right, int32_t rank, int32_t id) {
  const uint64_t pair = pair_key(left, right);
  slots_[slot_of(pair)] = {pair, {rank, id}};
}

MergeTable::Merge MergeTable::find(int32_t left, int32_t right) const {
  return slots_[slot_of(pair_key(left, right))].merge;
}

void MergeTable::apply(std::vector<int32_t>& symbols) const {
  if (symbols.size() < 2 || slots_.empty()) return;
  if (symbols.size() <= kShortWord)
    apply_short(symbols);
  else
    apply_long(symbols);
}

void MergeTable::apply_short(std::vector<int32_t>& symbols) const {
  Merge merges[kShortWord];  // merges[i] joins symbols i and i + 1
  int32_t* s = symbols.data();
  size_t n = symbols.size();
  for (size_t i = 0; i + 1 < n; ++i) merges[i] = find(s[i], s[i + 1]);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i)
      if (merges[i].rank < merges[best].rank) best = i;
    if (merges[best].rank == kNoRank) break;
    s[best] = merges[best].id;
    std::copy(s + best + 2, s + n, s + best + 1);
    if (best + 2 < n) std::copy(merges + best + 2, merges + n - 1, merges + best + 1);
    --n;
    if (best + 1 < n) merges[best] = find(s[best], s[best + 1]);
    if (best > 0) merges[best - 1] = find(s[best - 1], s[best]);
  }
  symbols.resize(n);
}

void MergeTable::apply_long(std::vector<int32_t>& symbols) const {
  struct Candidate {
    int32_t rank;
    uint32_t position;
    int32_t id;
    bool operator>(const Candidate& other) const {
      return std::tie(rank, position) > std::tie(other.rank, other.position);
    }
  };
  const auto n = static_cast<uint32_t>(symbols.size());
  constexpr uint32_t kNone = UINT32_MAX;
  std::vector<uint32_t> previous(n), next(n);
  std::vector<Candidate> initial;
  for (uint32_t i = 0; i < n; ++i) {
    previous[i] = i == 0 ? kNone : i - 1;
    next[i] = i + 1 == n ? kNone : i + 1;
    if (i + 1 == n) break;
    const Merge merge = find(symbols[i], symbols[i + 1]);
    if (merge.rank != kNoRank) initial.push_back({merge.rank, i, merge.id});
  }
  std::priority_queue queue(std::greater<Candidate>(), std::move(initial));
  const auto offer = [&](uint32_t i) {
    if (i == kNone || next[i] == kNone) return;
    const Merge merge = find(symbols[i], symbols[next[i]]);
    if (merge.rank != kNoRank) queue.push({merge.rank, i, merge.id});
  };
  constexpr int32_t kGone = -1;
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    const uint32_t i = top.position;
    // Entries are not removed when their symbols change; they are recognised here.
    if (symbols[i] == kGone || next[i] == kNone) continue;
    const uint32_t right = next[i];
    if (find(symbols[i], symbols[right]).id != top.id) continue;
    symbols[i] = top.id;
    symbols[right] = kGone;
    next[i] = next[right];
    if (next[i] != kNone) previous[next[i]] = i;
    offer(previous[i]);
    offer(i);
  }
  std::erase(symbols, kGone);
}

}  // namespace parapet::text

// Seeded, restorable random streams. The same seed gives the same numbers on every platform: only
// integer arithmetic and exactly specified conversions are used (normal() also takes the C
// library's log and cos, which may differ in the last bit).
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace parapet {

// xoshiro256** (Blackman and Vigna), seeded by splitmix64.
class Random {
 public:
  // Streams with different `stream` values are independent for one seed.
  explicit Random(uint64_t seed = 0, uint64_t stream = 0);
  // A stream named by purpose, e.g. Random::named(seed, "world.train").
  static Random named(uint64_t seed, std::string_view purpose);

  uint64_t next();
  // In [0, bound), unbiased; std::invalid_argument when bound is 0.
  uint64_t below(uint64_t bound);
  // Inclusive range.
  int64_t between(int64_t low, int64_t high);
  double uniform();  // in [0, 1), 53 bits
  double normal();   // mean 0, deviation 1
  bool chance(double probability) { return uniform() < probability; }
  template <class T>
  const T& pick(std::span<const T> items) {
    return items[below(items.size())];
  }
  template <class T>
  const T& pick(const std::vector<T>& items) {
    return items[below(items.size())];
  }
  template <class T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

  using State = std::array<uint64_t, 4>;
  State state() const { return state_; }
  // std::invalid_argument for the all-zero state, from which nothing but zeros follows.
  void restore(const State& state);

 private:
  State state_;
};

// A 64-bit hash of a string (FNV-1a, finalised), stable across platforms.
uint64_t stable_hash(std::string_view text);

}  // namespace parapet

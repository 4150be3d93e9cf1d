#include "parapet/core/random.h"

#include <cmath>
#include <stdexcept>

namespace parapet {
namespace {

uint64_t splitmix64(uint64_t& x) {
  x += 0x9E3779B97F4A7C15u;
  uint64_t z = x;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

uint64_t rotate_left(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

}  // namespace

Random::Random(uint64_t seed, uint64_t stream) {
  uint64_t mixed_stream = stream;
  uint64_t x = seed ^ splitmix64(mixed_stream);
  for (auto& word : state_) word = splitmix64(x);
}

Random Random::named(uint64_t seed, std::string_view purpose) {
  return Random(seed, stable_hash(purpose));
}

void Random::restore(const State& state) {
  if (state == State{}) throw std::invalid_argument("Random::restore: an all-zero state is stuck");
  state_ = state;
}

uint64_t Random::next() {
  const uint64_t result = rotate_left(state_[1] * 5, 7) * 9;
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = rotate_left(state_[3], 45);
  return result;
}

uint64_t Random::below(uint64_t bound) {
  if (bound == 0) throw std::invalid_argument("Random::below: bound must be > 0");
  // Rejects the few values that would make some results more likely.
  const uint64_t threshold = (0 - bound) % bound;
  while (true) {
    const uint64_t x = next();
    if (x >= threshold) return x % bound;
  }
}

int64_t Random::between(int64_t low, int64_t high) {
  if (low > high) throw std::invalid_argument("Random::between: low must be <= high");
  // Unsigned arithmetic wraps where signed would overflow; a count of 0 is the whole range.
  const uint64_t count = static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1;
  return static_cast<int64_t>(static_cast<uint64_t>(low) + (count == 0 ? next() : below(count)));
}

double Random::uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

double Random::normal() {
  // Box-Muller; the second value is dropped so that the state stays four words.
  const double u = 1.0 - uniform();
  const double v = uniform();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
}

uint64_t stable_hash(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return splitmix64(hash);
}

}  // namespace parapet

// What training reads: a stream of values that can tell its position and return to it exactly, so
// that a resumed run sees the samples that the killed one would have seen. Sources compose by
// decoration:
//
//   auto order = shuffled_draws(samples.size(), seed, "captions");
//   auto mine = shard_by_rank<std::vector<Draw>>(batch<Draw>(std::move(order), 32), rank, ranks);
//   auto loaded = map_members<Draw, Loaded>(std::move(mine), decode, threads);
//   auto ready = prefetch<std::vector<Loaded>>(std::move(loaded), 2);
#pragma once
#include <memory>
#include <nlohmann/json.hpp>

namespace parapet {

template <class T>
class Source {
 public:
  virtual ~Source() = default;
  // False at the end; the value is then left alone.
  virtual bool next(T& value) = 0;
  // Of the next value. Restoring it on an equally built source continues there; DataError when the
  // position does not fit.
  virtual nlohmann::json position() const = 0;
  virtual void restore(const nlohmann::json& position) = 0;
};

template <class T>
using SourcePtr = std::unique_ptr<Source<T>>;

}  // namespace parapet

// Stages that sources are made of: batches, a process's share, functions of values, one source
// after another.
#pragma once
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/threads.h"
#include "parapet/data/sources/source.h"

namespace parapet {

// Lists of `size` values; the last one may be shorter unless `drop_last`.
template <class T>
class Batched final : public Source<std::vector<T>> {
 public:
  Batched(SourcePtr<T> source, int64_t size, bool drop_last)
      : source_(std::move(source)), size_(size), drop_last_(drop_last) {
    if (size < 1) throw UsageError("batch size must be >= 1");
  }
  bool next(std::vector<T>& value) override {
    std::vector<T> batch;
    T item{};
    while (static_cast<int64_t>(batch.size()) < size_ && source_->next(item))
      batch.push_back(std::move(item));
    if (batch.empty() || (drop_last_ && static_cast<int64_t>(batch.size()) < size_)) return false;
    value = std::move(batch);
    return true;
  }
  nlohmann::json position() const override { return source_->position(); }
  void restore(const nlohmann::json& position) override { source_->restore(position); }

 private:
  SourcePtr<T> source_;
  int64_t size_;
  bool drop_last_;
};

// Every `ranks`-th value starting at `rank`. Reads whole rounds, so that every process sees the
// same number of values: put it where values are still cheap.
template <class T>
class RankShare final : public Source<T> {
 public:
  RankShare(SourcePtr<T> source, int64_t rank, int64_t ranks)
      : source_(std::move(source)), rank_(rank), ranks_(ranks) {
    if (ranks < 1 || rank < 0 || rank >= ranks) throw UsageError("rank must be in 0..ranks-1");
  }
  bool next(T& value) override {
    T own{};
    for (int64_t i = 0; i < ranks_; ++i) {
      T item{};
      if (!source_->next(item)) return false;
      if (i == rank_) own = std::move(item);
    }
    value = std::move(own);
    return true;
  }
  nlohmann::json position() const override { return source_->position(); }
  void restore(const nlohmann::json& position) override { source_->restore(position); }

 private:
  SourcePtr<T> source_;
  int64_t rank_, ranks_;
};

// fn applied to each value.
template <class In, class Out>
class Mapped final : public Source<Out> {
 public:
  Mapped(SourcePtr<In> source, std::function<Out(In)> fn)
      : source_(std::move(source)), fn_(std::move(fn)) {}
  bool next(Out& value) override {
    In item{};
    if (!source_->next(item)) return false;
    value = fn_(std::move(item));
    return true;
  }
  nlohmann::json position() const override { return source_->position(); }
  void restore(const nlohmann::json& position) override { source_->restore(position); }

 private:
  SourcePtr<In> source_;
  std::function<Out(In)> fn_;
};

// The first `count` values of one source, then those of another.
template <class T>
class Sequence final : public Source<T> {
 public:
  Sequence(SourcePtr<T> first, int64_t count, SourcePtr<T> second)
      : first_(std::move(first)), second_(std::move(second)), count_(count) {}
  bool next(T& value) override {
    if (at_ < count_ && first_->next(value)) {
      ++at_;
      return true;
    }
    at_ = count_;
    return second_->next(value);
  }
  nlohmann::json position() const override {
    return {{"count", count_},
            {"at", at_},
            {"first", first_->position()},
            {"second", second_->position()}};
  }
  void restore(const nlohmann::json& position) override {
    constexpr std::string_view kSource = "data position";
    if (json_field<int64_t>(position, "count", kSource) != count_)
      throw DataError(kSource, "was saved with a first part of another length",
                      "Resume with the number of steps that the run was started with.");
    at_ = json_field<int64_t>(position, "at", kSource);
    first_->restore(position.at("first"));
    second_->restore(position.at("second"));
  }

 private:
  SourcePtr<T> first_, second_;
  int64_t count_;
  int64_t at_ = 0;
};

template <class T>
SourcePtr<std::vector<T>> batch(SourcePtr<T> source, int64_t size, bool drop_last = false) {
  return std::make_unique<Batched<T>>(std::move(source), size, drop_last);
}

template <class T>
SourcePtr<T> shard_by_rank(SourcePtr<T> source, int64_t rank, int64_t ranks) {
  return std::make_unique<RankShare<T>>(std::move(source), rank, ranks);
}

template <class In, class Out>
SourcePtr<Out> map(SourcePtr<In> source, std::function<Out(In)> fn) {
  return std::make_unique<Mapped<In, Out>>(std::move(source), std::move(fn));
}

// fn applied to the members of each batch on up to `threads` threads (0 = all cores), order kept.
template <class In, class Out>
SourcePtr<std::vector<Out>> map_members(SourcePtr<std::vector<In>> source,
                                        std::function<Out(const In&)> fn, int64_t threads = 0) {
  return map<std::vector<In>, std::vector<Out>>(
      std::move(source), [fn = std::move(fn), threads](std::vector<In> items) {
        std::vector<Out> out(items.size());
        parallel_items(static_cast<int64_t>(items.size()), threads, [&](int64_t i) {
          out[static_cast<size_t>(i)] = fn(items[static_cast<size_t>(i)]);
        });
        return out;
      });
}

template <class T>
SourcePtr<T> sequence(SourcePtr<T> first, int64_t count, SourcePtr<T> second) {
  return std::make_unique<Sequence<T>>(std::move(first), count, std::move(second));
}

}  // namespace parapet

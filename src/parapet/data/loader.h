// Data loading by decoration: a source of indices or records, shuffled, batched, mapped on several
// threads, prefetched. Every stage can tell its position and return to it exactly, so that a
// resumed run sees the samples that the killed one would have seen.
//
//   auto order = shuffled_indices(samples.size(), seed);
//   auto batches = batch<int64_t>(std::move(order), 32);
//   auto loaded = map_batch<int64_t, Loaded>(std::move(batches), decode, threads);
//   auto loader = prefetch<std::vector<Loaded>>(std::move(loaded), 2);
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "parapet/core/error.h"
#include "parapet/core/random.h"
#include "parapet/core/threads.h"

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

// 0 .. count-1, once.
SourcePtr<int64_t> indices(int64_t count);
// Every index once per epoch, in an order of its own per (seed, epoch); `epochs` < 0 = endless.
SourcePtr<int64_t> shuffled_indices(int64_t count, uint64_t seed, int64_t epochs = -1);
// 0 .. count-1 in an order drawn from `random`.
std::vector<int64_t> shuffled_order(int64_t count, Random random);
// Entries first .. first + length - 1 of an endless stream that runs through 0 .. count-1 once per
// epoch, each epoch in an order of its own per (seed, purpose). A pure function: any process can
// name any part of the stream. UsageError when `count` is 0.
std::vector<int64_t> epoch_rows(int64_t count, int64_t first, int64_t length, uint64_t seed,
                                std::string_view purpose);
// Every `parts`-th value starting at `part`: the share of one process.
SourcePtr<int64_t> strided(SourcePtr<int64_t> source, int64_t part, int64_t parts);

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

// Runs a source ahead on a thread of its own. Its position is that of its consumer: values drawn
// but not yet handed out do not count. An exception of the source arrives in its turn.
template <class T>
class Prefetched final : public Source<T> {
 public:
  Prefetched(SourcePtr<T> source, int64_t depth) : source_(std::move(source)), depth_(depth) {
    if (depth < 1) throw UsageError("prefetch depth must be >= 1");
    position_ = source_->position();
    start();
  }
  ~Prefetched() override { stop(); }

  bool next(T& value) override {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return !queue_.empty(); });
    Slot& slot = queue_.front();
    if (slot.failure) std::rethrow_exception(slot.failure);
    if (!slot.has_value) return false;  // stays at the front: the end remains the end
    value = std::move(slot.value);
    position_ = std::move(slot.after);
    queue_.pop_front();
    emptied_.notify_one();
    return true;
  }

  nlohmann::json position() const override {
    std::lock_guard lock(mutex_);
    return position_;
  }

  void restore(const nlohmann::json& position) override {
    stop();
    queue_.clear();
    source_->restore(position);
    position_ = position;
    start();
  }

 private:
  struct Slot {
    bool has_value = false;
    T value{};
    nlohmann::json after;
    std::exception_ptr failure;
  };

  Slot draw() {
    Slot slot;
    try {
      slot.has_value = source_->next(slot.value);
      slot.after = source_->position();
    } catch (...) {
      slot.failure = std::current_exception();
    }
    return slot;
  }

  void run() {
    while (true) {
      Slot slot = draw();
      const bool last = !slot.has_value || slot.failure;
      std::unique_lock lock(mutex_);
      emptied_.wait(lock,
                    [&] { return stopping_ || static_cast<int64_t>(queue_.size()) < depth_; });
      if (stopping_) return;
      queue_.push_back(std::move(slot));
      filled_.notify_one();
      if (last) return;
    }
  }

  void start() {
    stopping_ = false;
    thread_ = std::thread([this] { run(); });
  }

  void stop() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    emptied_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  SourcePtr<T> source_;
  int64_t depth_;
  mutable std::mutex mutex_;
  std::condition_variable filled_, emptied_;
  std::deque<Slot> queue_;
  nlohmann::json position_;
  bool stopping_ = false;
  std::thread thread_;
};

template <class T>
SourcePtr<std::vector<T>> batch(SourcePtr<T> source, int64_t size, bool drop_last = false) {
  return std::make_unique<Batched<T>>(std::move(source), size, drop_last);
}

template <class In, class Out>
SourcePtr<Out> map(SourcePtr<In> source, std::function<Out(In)> fn) {
  return std::make_unique<Mapped<In, Out>>(std::move(source), std::move(fn));
}

// fn applied to the members of each batch on up to `threads` threads (0 = all cores), order kept.
template <class In, class Out>
SourcePtr<std::vector<Out>> map_batch(SourcePtr<std::vector<In>> source,
                                      std::function<Out(const In&)> fn, int64_t threads) {
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
SourcePtr<T> prefetch(SourcePtr<T> source, int64_t depth = 2) {
  return std::make_unique<Prefetched<T>>(std::move(source), depth);
}

}  // namespace parapet

// Reading ahead on a thread of its own, so that the next values are made while one is used.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "parapet/core/error.h"
#include "parapet/data/sources/source.h"

namespace parapet {

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
SourcePtr<T> prefetch(SourcePtr<T> source, int64_t depth = 2) {
  return std::make_unique<Prefetched<T>>(std::move(source), depth);
}

}  // namespace parapet

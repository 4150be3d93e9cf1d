#include "parapet/core/threads.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>

#include "parapet/core/error.h"

namespace parapet {
namespace {

// The items of one call. Outlives it where a thread of the pool comes late.
class Items final : public ThreadPool::Work, public std::enable_shared_from_this<Items> {
 public:
  Items(ThreadPool& pool, int64_t count, const std::atomic<bool>* cancel,
        const std::function<void(int64_t)>& fn)
      : pool_(pool), count_(count), cancel_(cancel), fn_(fn) {}

  void help() noexcept override {
    const auto self = shared_from_this();
    while (take_one(true))
      if (pool_.make_room(self)) return;
  }

  // Whether there was an item to take.
  bool take_one(bool helper) noexcept {
    int64_t item = 0;
    {
      const std::lock_guard lock(mutex_);
      if (next_ >= count_ || failed_ < count_) return false;
      item = next_++;
      helping_ += helper;
    }
    std::exception_ptr thrown;
    try {
      if (cancel_ != nullptr && cancel_->load(std::memory_order_relaxed))
        throw Cancelled("stopped before item " + std::to_string(item + 1) + " of " +
                        std::to_string(count_));
      fn_(item);
    } catch (...) {
      thrown = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    if (thrown && item < failed_) {
      failed_ = item;
      failure_ = std::move(thrown);
    }
    helping_ -= helper;
    if (helping_ == 0) ended_.notify_all();
    return true;
  }

  // After the caller found nothing to take.
  void finish() {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return helping_ == 0; });
    // The last holder is this thread: helpers may still let go of the call.
    if (auto failure = std::move(failure_)) std::rethrow_exception(std::move(failure));
  }

 private:
  ThreadPool& pool_;
  const int64_t count_;
  const std::atomic<bool>* cancel_;
  const std::function<void(int64_t)>& fn_;  // used only while an item is held
  std::mutex mutex_;
  std::condition_variable ended_;
  int64_t next_ = 0;
  int64_t helping_ = 0;  // helpers at an item
  int64_t failed_ = std::numeric_limits<int64_t>::max();
  std::exception_ptr failure_;
};

}  // namespace

void parallel_items(int64_t count, const ParallelOptions& options,
                    const std::function<void(int64_t)>& fn) {
  if (count <= 0) return;
  ThreadPool& pool = options.pool != nullptr ? *options.pool : ThreadPool::shared();
  const int64_t asked = options.threads > 0 ? options.threads : ThreadPool::cores();
  const int64_t helpers = std::min(asked, count) - 1;
  const auto items = std::make_shared<Items>(pool, count, options.cancel, fn);
  const ThreadPool::Extra extra(pool, asked > ThreadPool::cores() ? helpers : 0);
  pool.invite(items, helpers);
  while (items->take_one(false)) {
  }
  pool.withdraw(*items);
  items->finish();
}

void parallel_items(int64_t count, int64_t threads, const std::function<void(int64_t)>& fn) {
  parallel_items(count, ParallelOptions{.threads = threads}, fn);
}

}  // namespace parapet

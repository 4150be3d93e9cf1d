#include "parapet/serving/side_by_side.h"

#include <condition_variable>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>

namespace parapet::serving {
namespace {

// Outlives the call: a job may still wait in the pool when every item is done.
struct Shared {
  const std::function<void(size_t)>* fn;
  size_t count;
  std::mutex mutex;
  std::condition_variable ended;
  size_t next = 0;
  size_t recruited = 0;  // jobs in the pool, begun or not
  size_t helping = 0;    // of them, those at an item
  size_t failed = std::numeric_limits<size_t>::max();
  std::exception_ptr error;

  // Whether there was an item to take. `helper`: not the caller.
  bool take_one(bool helper) {
    size_t item = 0;
    {
      const std::lock_guard lock(mutex);
      if (next >= count || error) return false;
      item = next++;
      helping += helper;
    }
    std::exception_ptr thrown;
    try {
      (*fn)(item);
    } catch (...) {
      thrown = std::current_exception();
    }
    const std::lock_guard lock(mutex);
    if (thrown && item < failed) {
      failed = item;
      error = std::move(thrown);  // a copy might outlive the caller's, and be freed here
    }
    helping -= helper;
    if (helping == 0) ended.notify_all();
    return true;
  }
};

void recruit(WorkerPool& workers, const std::shared_ptr<Shared>& shared) {
  for (;;) {
    {
      const std::lock_guard lock(shared->mutex);
      // One item is the caller's, and helpers that are at an item take no other for now.
      const size_t left = shared->count - shared->next;
      if (left <= 1 + shared->recruited - shared->helping) return;
      ++shared->recruited;
    }
    const bool taken = workers.submit_if_idle([&workers, shared] {
      while (shared->take_one(true) && workers.waiting() == 0) {
      }
      const std::lock_guard lock(shared->mutex);
      --shared->recruited;
    });
    if (taken) continue;
    const std::lock_guard lock(shared->mutex);
    --shared->recruited;
    return;
  }
}

}  // namespace

void side_by_side(WorkerPool& workers, size_t count, const std::function<void(size_t)>& fn) {
  const auto shared = std::make_shared<Shared>();
  shared->fn = &fn;
  shared->count = count;
  do {
    recruit(workers, shared);
  } while (shared->take_one(false));
  std::unique_lock lock(shared->mutex);
  // Nothing is handed out any more: next == count, or an error.
  shared->ended.wait(lock, [&] { return shared->helping == 0; });
  if (!shared->error) return;
  // Taken out, so that it ends on this thread and not with a helper that still holds `shared`.
  shared->next = shared->count;
  auto error = std::move(shared->error);
  lock.unlock();
  std::rethrow_exception(std::move(error));
}

}  // namespace parapet::serving

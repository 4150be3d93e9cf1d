#include "parapet/core/crew.h"

#include <algorithm>
#include <chrono>
#include <new>

namespace parapet {
namespace {

constexpr int kSpins = 4000;   // some tens of microseconds
constexpr int kYields = 8000;  // then a thread that holds work has lost its core: sleep

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

// What the pool's threads see of a crew. Outlives it where one of them comes late.
class Crew::Helpers final : public ThreadPool::Work, public std::enable_shared_from_this<Helpers> {
 public:
  explicit Helpers(int64_t count) : count_(count) {}

  int64_t begin(const std::shared_ptr<SharedWork>& work) {
    const std::lock_guard lock(mutex_);
    active_.push_back({++runs_, work, false});
    ++computing_;
    try {
      call_for_help();
    } catch (const std::bad_alloc&) {  // the caller does it alone
    }
    return runs_;
  }

  void end(int64_t number) noexcept {
    const std::lock_guard lock(mutex_);
    std::erase_if(active_, [&](const Active& active) { return active.number == number; });
    --computing_;
    try {
      call_for_help();                 // a core is free for what others compute
    } catch (const std::bad_alloc&) {  // they do without
    }
  }

  void help() noexcept override {
    std::unique_lock lock(mutex_);
    while (const Active* found = next()) {
      const int64_t number = found->number;
      std::shared_ptr<SharedWork> work = found->work;
      ++computing_;
      lock.unlock();
      bool left = false;
      try {
        work->member([&] { return left = computing_ > count_; });
      } catch (...) {  // it took nothing: the others do without
      }
      work.reset();
      lock.lock();
      --computing_;
      if (left) continue;
      for (Active& active : active_)
        if (active.number == number) active.exhausted = true;
    }
    --invited_;
  }

 private:
  struct Active {
    int64_t number;
    std::shared_ptr<SharedWork> work;
    bool exhausted;  // a helper found nothing left, or no memory for its part
  };

  // The oldest work that a helper can join; null where there is none, or no core for it.
  const Active* next() const {
    if (computing_ >= count_) return nullptr;
    for (const Active& active : active_)
      if (!active.exhausted) return &active;
    return nullptr;
  }

  // Called with mutex_ held.
  void call_for_help() {
    if (next() == nullptr) return;
    const int64_t more = std::min<int64_t>(count_ - computing_, count_ - 1 - invited_);
    if (more <= 0) return;
    ThreadPool::shared().invite(shared_from_this(), more);
    invited_ += more;
  }

  const int64_t count_;
  std::mutex mutex_;
  std::vector<Active> active_;
  int64_t runs_ = 0;
  int64_t invited_ = 0;                // helpers that are here or will come
  std::atomic<int64_t> computing_{0};  // callers and helpers
};

Crew::Crew(int64_t count)
    : count_(std::max<int64_t>(1, count)),
      extra_(ThreadPool::shared(), count_ - 1 - ThreadPool::cores()),
      helpers_(std::make_shared<Helpers>(count_)) {}

Crew::~Crew() { ThreadPool::shared().withdraw(*helpers_); }

void Crew::run(const std::shared_ptr<SharedWork>& work) {
  const int64_t number = helpers_->begin(work);
  try {
    work->member({});
  } catch (...) {
    helpers_->end(number);
    throw;
  }
  helpers_->end(number);
}

void SharedFailure::keep() noexcept {
  const std::lock_guard lock(mutex_);
  if (!any()) first_ = std::current_exception();
  any_.store(true, std::memory_order_release);
}

void SharedFailure::rethrow() {
  if (!any()) return;
  std::unique_lock lock(mutex_);
  auto first = std::move(first_);
  lock.unlock();
  if (first) std::rethrow_exception(std::move(first));
}

bool SharedSteps::wait_for(const std::atomic<int64_t>& value, int64_t target,
                           const SharedFailure& failure) {
  for (int i = 0; value.load(std::memory_order_acquire) < target; ++i) {
    if (failure.any()) return false;
    if (i < kSpins)
      relax();
    else if (i < kYields)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return true;
}

}  // namespace parapet

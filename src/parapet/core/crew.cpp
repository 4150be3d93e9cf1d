#include "parapet/core/crew.h"

#include <algorithm>
#include <chrono>

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

Crew::Crew(int64_t count) : count_(std::max<int64_t>(1, count)) {
  for (int64_t i = 1; i < count_; ++i) threads_.emplace_back([this] { serve(); });
}

Crew::~Crew() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  invited_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Crew::invite(std::shared_ptr<const std::function<void()>> work) {
  if (threads_.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    work_ = std::move(work);
    taken_ = 0;
    ++round_;
  }
  invited_.notify_all();
}

void Crew::serve() {
  int64_t seen = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    invited_.wait(lock, [&] { return closing_ || round_ != seen; });
    if (closing_) return;
    seen = round_;
    auto work = work_;
    if (++taken_ == count_ - 1) work_.reset();  // what it owns goes with the last thread's copy
    lock.unlock();
    (*work)();
    work.reset();
    lock.lock();
  }
}

void SharedSteps::wait_for(const std::atomic<int64_t>& value, int64_t target) {
  for (int i = 0; value.load(std::memory_order_acquire) < target; ++i) {
    if (i < kSpins)
      relax();
    else if (i < kYields)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

}  // namespace parapet

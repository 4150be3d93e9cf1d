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

Crew::Crew(int64_t count) : count_(std::max<int64_t>(1, count)) {
  for (int64_t i = 1; i < count_; ++i) threads_.emplace_back([this] { serve(); });
}

Crew::~Crew() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wanted_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Crew::run(const std::shared_ptr<SharedWork>& work) {
  int64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = ++runs_;
    active_.push_back({number, work});
    if (++computing_ < count_) wanted_.notify_all();
  }
  const auto end = [&] {
    const std::lock_guard lock(mutex_);
    std::erase_if(active_, [&](const Active& active) { return active.number == number; });
    // A core is free for what others compute.
    if (--computing_ < count_ && !active_.empty()) wanted_.notify_all();
  };
  try {
    work->member({});
  } catch (...) {
    end();
    throw;
  }
  end();
}

const Crew::Active* Crew::next(int64_t done) const {
  if (computing_ >= count_) return nullptr;
  for (const Active& active : active_)
    if (active.number != done) return &active;
  return nullptr;
}

void Crew::serve() {
  int64_t done = 0;  // number of the work in which this thread found nothing left
  std::unique_lock lock(mutex_);
  for (;;) {
    const Active* found = nullptr;
    wanted_.wait(lock, [&] { return closing_ || (found = next(done)) != nullptr; });
    if (closing_) return;
    const int64_t number = found->number;
    std::shared_ptr<SharedWork> work = found->work;
    ++computing_;
    lock.unlock();
    bool left = false;
    try {
      work->member([&] { return left = computing_ > count_; });
    } catch (const std::bad_alloc&) {  // it took nothing: the others do without
    }
    if (!left) done = number;
    work.reset();
    lock.lock();
    --computing_;
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

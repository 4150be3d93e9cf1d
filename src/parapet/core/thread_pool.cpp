#include "parapet/core/thread_pool.h"

#include <algorithm>
#include <new>

namespace parapet {

int64_t ThreadPool::cores() { return std::max(1U, std::thread::hardware_concurrency()); }

ThreadPool& ThreadPool::shared() {
  static ThreadPool pool(cores());
  return pool;
}

ThreadPool::ThreadPool(int64_t threads) : most_(std::max<int64_t>(0, threads)) {}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wanted_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void ThreadPool::invite(const std::shared_ptr<Work>& work, int64_t helpers) {
  if (helpers <= 0) return;
  {
    const std::lock_guard lock(mutex_);
    invitations_.push_back({work, helpers});
    asked_ += helpers;
    grow();
  }
  for (int64_t i = 0; i < helpers; ++i) wanted_.notify_one();
}

// Called with mutex_ held.
void ThreadPool::grow() {
  const auto count = [&] { return static_cast<int64_t>(threads_.size()); };
  try {
    while (count() < most_ && count() - helping_ < asked_)
      threads_.emplace_back([this] { serve(); });
  } catch (const std::exception&) {  // the system gives no more threads: those that are here do
  }
}

int64_t ThreadPool::withdraw(const Work& work) {
  const std::lock_guard lock(mutex_);
  int64_t withdrawn = 0;
  for (auto it = invitations_.begin(); it != invitations_.end();) {
    if (it->work.get() != &work) {
      ++it;
      continue;
    }
    withdrawn += it->helpers;
    it = invitations_.erase(it);  // the caller holds the work
  }
  asked_ -= withdrawn;
  return withdrawn;
}

bool ThreadPool::make_room(const std::shared_ptr<Work>& work) noexcept {
  if (asked_.load(std::memory_order_relaxed) == 0) return false;
  const std::lock_guard lock(mutex_);
  const auto count = static_cast<int64_t>(threads_.size());
  if (asked_ <= count - helping_) return false;  // free threads are on their way
  const bool others = std::any_of(invitations_.begin(), invitations_.end(),
                                  [&](const Invitation& i) { return i.work != work; });
  if (!others) return false;
  try {
    invitations_.push_back({work, 1});
  } catch (const std::bad_alloc&) {
    return false;
  }
  ++asked_;
  return true;
}

void ThreadPool::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wanted_.wait(lock, [&] { return closing_ || !invitations_.empty(); });
    if (closing_) return;
    Invitation& first = invitations_.front();
    std::shared_ptr<Work> work = first.work;
    if (--first.helpers == 0) invitations_.pop_front();
    --asked_;
    ++helping_;
    lock.unlock();
    work->help();
    work.reset();  // what it holds goes outside the lock
    lock.lock();
    --helping_;
  }
}

ThreadPool::Extra::Extra(ThreadPool& pool, int64_t threads)
    : pool_(pool), threads_(std::max<int64_t>(0, threads)) {
  const std::lock_guard lock(pool_.mutex_);
  pool_.most_ += threads_;
}

// Threads that were started stay, and sleep.
ThreadPool::Extra::~Extra() {
  const std::lock_guard lock(pool_.mutex_);
  pool_.most_ -= threads_;
}

class BackgroundCall::Task final : public ThreadPool::Work {
 public:
  explicit Task(std::function<void()> fn) : fn_(std::move(fn)) {}

  void help() noexcept override {
    if (claim()) run();
  }
  // Whether the call is now this thread's to run, or to leave.
  bool claim() { return !claimed_.exchange(true); }
  void run() noexcept {
    try {
      fn_();
    } catch (...) {
      failure_ = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_; });
  }
  // After the call has ended, once.
  std::exception_ptr take_failure() { return std::move(failure_); }

 private:
  std::function<void()> fn_;
  std::atomic<bool> claimed_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::exception_ptr failure_;
};

BackgroundCall::BackgroundCall(ThreadPool& pool, std::function<void()> fn)
    : pool_(pool), task_(std::make_shared<Task>(std::move(fn))) {
  pool_.invite(task_, 1);
}

BackgroundCall::~BackgroundCall() {
  pool_.withdraw(*task_);
  if (!task_->claim()) task_->wait();
}

void BackgroundCall::finish() {
  pool_.withdraw(*task_);
  if (task_->claim())
    task_->run();
  else
    task_->wait();
  if (auto failure = task_->take_failure()) std::rethrow_exception(std::move(failure));
}

}  // namespace parapet

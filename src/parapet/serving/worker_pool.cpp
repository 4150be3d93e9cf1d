#include "parapet/serving/worker_pool.h"

#include <utility>

namespace parapet::serving {

WorkerPool::WorkerPool(int64_t threads, int64_t capacity)
    : capacity_(static_cast<size_t>(capacity)) {
  for (int64_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

bool WorkerPool::put(std::function<void()> job, size_t may_wait) {
  {
    const std::lock_guard lock(mutex_);
    // An idle thread takes it at once: that is no waiting.
    const size_t idle = threads_.size() - static_cast<size_t>(running_);
    if (stopped_ || jobs_.size() >= may_wait + idle) return false;
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
  return true;
}

bool WorkerPool::submit(std::function<void()> job) { return put(std::move(job), capacity_); }

bool WorkerPool::submit_if_idle(std::function<void()> job) { return put(std::move(job), 0); }

void WorkerPool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopped_ || !jobs_.empty(); });
    if (stopped_) return;
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    if (running_++ == 0) moved_ = std::chrono::steady_clock::now();
    lock.unlock();
    job();
    job = nullptr;  // what it holds goes outside the lock
    lock.lock();
    --running_;
    moved_ = std::chrono::steady_clock::now();
  }
}

void WorkerPool::stop() {
  std::deque<std::function<void()>> dropped;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    dropped.swap(jobs_);
  }
  wake_.notify_all();
  for (auto& thread : threads_)
    if (thread.joinable()) thread.join();
}

int64_t WorkerPool::waiting() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(jobs_.size());
}

double WorkerPool::stalled_seconds() const {
  const std::lock_guard lock(mutex_);
  if (running_ == 0) return 0;
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - moved_).count();
}

int64_t WorkerPool::running() const {
  const std::lock_guard lock(mutex_);
  return running_;
}

}  // namespace parapet::serving

// Threads for compute, behind a queue that refuses rather than grows.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace parapet::serving {

class WorkerPool {
 public:
  // `capacity` jobs may wait beside those that run.
  WorkerPool(int64_t threads, int64_t capacity);
  ~WorkerPool() { stop(); }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // False when the queue is full or the pool stopped. Jobs must not throw.
  bool submit(std::function<void()> job);
  // The same for work that may as well not be done here: false unless a thread is free for it.
  bool submit_if_idle(std::function<void()> job);
  // Waits for running jobs; waiting ones are dropped.
  void stop();
  int64_t waiting() const;
  int64_t running() const;
  // How long no job ended although some run; 0 when none does.
  double stalled_seconds() const;
  int64_t threads() const { return static_cast<int64_t>(threads_.size()); }

 private:
  void work();
  bool put(std::function<void()> job, size_t may_wait);

  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  int64_t running_ = 0;
  std::chrono::steady_clock::time_point moved_;  // when a job began from rest, or last ended
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace parapet::serving

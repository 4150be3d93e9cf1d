// The one pool of threads that everything in a process computes on. Nothing depends on the pool's
// threads: whoever asks for help works itself, and threads that are free join. So calls may nest to
// any depth and cannot wait for each other.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace parapet {

class ThreadPool {
 public:
  // Something that threads of the pool can join.
  class Work {
   public:
    virtual ~Work() = default;
    // One thread's part. It may come when all is done, and then returns at once. What fails here
    // is kept in the work and thrown to the thread that asked for it.
    virtual void help() noexcept = 0;
  };

  // Of the process: a thread per core, started when first needed.
  static ThreadPool& shared();
  // The number of threads that the machine runs side by side, at least 1.
  static int64_t cores();

  // Up to `threads` threads, started when first needed. 0 is allowed: nobody ever helps.
  explicit ThreadPool(int64_t threads);
  // Waits for the threads that help; invitations that nobody took are dropped.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Asks `helpers` threads to join `work`, now or when they become free. Invitations are taken in
  // order, and hold the work until they are taken or withdrawn.
  void invite(const std::shared_ptr<Work>& work, int64_t helpers);
  // Takes back what nobody has taken; returns how many invitations these were.
  int64_t withdraw(const Work& work);
  // Between two items of a helper: whether it should return, because other work waits for a
  // thread. Its place in `work` is then queued again behind that other work.
  bool make_room(const std::shared_ptr<Work>& work) noexcept;

  // More threads while it lives, for work whose threads mostly wait for something else.
  class Extra {
   public:
    Extra(ThreadPool& pool, int64_t threads);
    ~Extra();
    Extra(const Extra&) = delete;
    Extra& operator=(const Extra&) = delete;

   private:
    ThreadPool& pool_;
    const int64_t threads_;
  };

 private:
  struct Invitation {
    std::shared_ptr<Work> work;
    int64_t helpers;
  };
  void serve();
  void grow();

  mutable std::mutex mutex_;
  std::condition_variable wanted_;
  std::deque<Invitation> invitations_;
  std::atomic<int64_t> asked_{0};  // helpers, over all invitations
  int64_t most_;                   // threads
  int64_t helping_ = 0;
  bool closing_ = false;
  std::vector<std::thread> threads_;
};

// One call that runs beside its caller. `finish` runs it itself when no thread has begun it yet, so
// waiting for it is always safe, on threads of the pool too.
class BackgroundCall {
 public:
  BackgroundCall(ThreadPool& pool, std::function<void()> fn);
  // Forgets the call when nobody has begun it; else waits until it has ended.
  ~BackgroundCall();
  BackgroundCall(const BackgroundCall&) = delete;
  BackgroundCall& operator=(const BackgroundCall&) = delete;
  // Returns when the call has ended, and rethrows what it threw.
  void finish();

 private:
  class Task;
  ThreadPool& pool_;
  std::shared_ptr<Task> task_;
};

// The result of a call that runs beside its caller. Keep a queue of these, and take them from its
// front, to map a stream in parallel and in order.
template <class R>
class Pending {
 public:
  Pending() = default;
  Pending(ThreadPool& pool, std::function<R()> fn)
      : result_(std::make_unique<std::optional<R>>()),
        call_(std::make_unique<BackgroundCall>(
            pool, [out = result_.get(), fn = std::move(fn)] { out->emplace(fn()); })) {}

  bool valid() const { return call_ != nullptr; }
  // Once. Waits for the call, or runs it here; rethrows what it threw.
  R get() {
    const auto call = std::move(call_);
    call->finish();
    return std::move(**result_);
  }

 private:
  std::unique_ptr<std::optional<R>> result_;  // outlives the call
  std::unique_ptr<BackgroundCall> call_;
};

// Runs fn() on the shared pool. What it refers to must live until the result was taken or dropped.
template <class Fn>
auto in_background(Fn fn) {
  return Pending<std::invoke_result_t<Fn>>(ThreadPool::shared(), std::move(fn));
}

}  // namespace parapet

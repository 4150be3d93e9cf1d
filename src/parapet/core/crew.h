// Threads that help with whatever is being computed, where cores are free.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "parapet/core/thread_pool.h"

namespace parapet {

// Says to a thread that helps that it should leave: its core is wanted by a caller.
using Leave = std::function<bool()>;

// Something that several threads can do together. They come when they can and find for themselves
// what is left to do.
class SharedWork {
 public:
  virtual ~SharedWork() = default;
  // One thread's part. Returns when nothing is left, or when `leave` says so, between two items;
  // `leave` is empty on the thread that asked. Helpers may come after all is done and then touch
  // nothing but this object. Whatever it throws, it throws before it has taken anything: a helper
  // that finds no memory for its part is done without. What fails later must be kept and thrown on
  // the thread that asked; SharedFailure does that.
  virtual void member(const Leave& leave) = 0;
};

// Calls to run() come from any number of threads. Threads of the shared pool help where `count`
// threads in all are not yet computing, and leave when more callers come.
class Crew {
 public:
  // At most `count` - 1 threads beside the caller's.
  explicit Crew(int64_t count);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  int64_t count() const { return count_; }
  // Returns when `work` is done. It may be kept until the last helper has noticed.
  void run(const std::shared_ptr<SharedWork>& work);

 private:
  class Helpers;
  const int64_t count_;
  ThreadPool::Extra extra_;
  std::shared_ptr<Helpers> helpers_;
};

// What failed first, on whichever thread, for the one that asked.
class SharedFailure {
 public:
  // Keeps the exception that is being handled.
  void keep() noexcept;
  bool any() const { return any_.load(std::memory_order_acquire); }
  // On the thread that asked, once, when it has ended its part.
  void rethrow();

 private:
  std::mutex mutex_;
  std::exception_ptr first_;
  std::atomic<bool> any_{false};
};

// Steps that several threads go through in the same order, sharing each one's items.
class SharedSteps {
 public:
  explicit SharedSteps(int64_t most) : steps_(static_cast<size_t>(most)) {}

  // One thread's way through the steps.
  class Walker {
   public:
    Walker(SharedSteps& steps, const Leave& leave) : steps_(steps), leave_(leave) {}
    // Claims and does items of this thread's next step, `each` at a time, until none is left; then
    // waits until those that others claimed are done. fn(begin, end). Does nothing once the thread
    // was told to leave or an item failed on any thread.
    template <class Fn>
    void step(int64_t items, int64_t each, const Fn& fn) {
      if (left_) return;
      Step& step = steps_.steps_.at(next_++);
      while (!(left_ = leave_ && leave_())) {
        const int64_t begin = step.claimed.fetch_add(each);
        if (begin >= items) {
          left_ = !wait_for(step.done, items, steps_.failure_);
          return;
        }
        const int64_t end = begin + each < items ? begin + each : items;
        try {
          fn(begin, end);
        } catch (...) {
          steps_.failure_.keep();
          left_ = true;
          return;
        }
        step.done.fetch_add(end - begin, std::memory_order_acq_rel);
      }
    }
    bool left() const { return left_; }

   private:
    SharedSteps& steps_;
    const Leave& leave_;
    size_t next_ = 0;
    bool left_ = false;
  };

  // Returns true when `value` has reached `target`, false when something failed before: spins
  // first, for waits are short.
  static bool wait_for(const std::atomic<int64_t>& value, int64_t target,
                       const SharedFailure& failure);
  // Of the items.
  SharedFailure& failure() { return failure_; }

 private:
  struct alignas(64) Step {
    std::atomic<int64_t> claimed{0}, done{0};
  };
  std::vector<Step> steps_;
  SharedFailure failure_;
};

}  // namespace parapet

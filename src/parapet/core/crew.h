// Threads that help with whatever is being computed, where cores are free.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace parapet {

// Says to a thread that helps that it should leave: its core is wanted by a caller.
using Leave = std::function<bool()>;

// Something that several threads can do together. They come when they can and find for themselves
// what is left to do.
class SharedWork {
 public:
  virtual ~SharedWork() = default;
  // One thread's part. Returns when nothing is left, or when `leave` says so, between two items.
  // Helpers may come after all is done and then touch nothing but this object. Throws for want of
  // memory at most, before it has taken anything.
  virtual void member(const Leave& leave) = 0;
};

// Calls to run() come from any number of threads; those of the crew help where `count` threads in
// all are not yet computing, and leave when more callers come.
class Crew {
 public:
  // `count` - 1 threads beside the caller's.
  explicit Crew(int64_t count);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  int64_t count() const { return count_; }
  // Returns when `work` is done. It may be kept until the last helper has noticed.
  void run(const std::shared_ptr<SharedWork>& work);

 private:
  struct Active {
    int64_t number;
    std::shared_ptr<SharedWork> work;
  };
  void serve();
  // The oldest work but number `done`; null where there is none, or no core for it.
  const Active* next(int64_t done) const;

  const int64_t count_;
  std::mutex mutex_;
  std::condition_variable wanted_;
  std::vector<Active> active_;
  int64_t runs_ = 0;
  std::atomic<int64_t> computing_{0};  // callers and helpers
  bool closing_ = false;
  std::vector<std::thread> threads_;
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
    // was told to leave.
    template <class Fn>
    void step(int64_t items, int64_t each, const Fn& fn) {
      if (left_) return;
      Step& step = steps_.steps_.at(next_++);
      while (!(left_ = leave_ && leave_())) {
        const int64_t begin = step.claimed.fetch_add(each);
        if (begin >= items) return wait_for(step.done, items);
        const int64_t end = begin + each < items ? begin + each : items;
        fn(begin, end);
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

  // Returns when `value` has reached `target`: spins first, for waits are short.
  static void wait_for(const std::atomic<int64_t>& value, int64_t target);

 private:
  struct alignas(64) Step {
    std::atomic<int64_t> claimed{0}, done{0};
  };
  std::vector<Step> steps_;
};

}  // namespace parapet

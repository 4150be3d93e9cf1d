// Threads that come to help with one computation at a time.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace parapet {

// Calls come from any number of threads. One that computes alone may invite the crew's threads;
// callers side by side keep to their own.
class Crew {
 public:
  // `count` - 1 threads beside the caller's, asleep between invitations.
  explicit Crew(int64_t count);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  int64_t count() const { return count_; }
  // Has the threads call `work` too, as soon as they wake; does not wait for them. `work` owns all
  // that it touches, finds for itself what is left to do, and does not throw.
  void invite(std::shared_ptr<const std::function<void()>> work);

  // Marks a caller that computes.
  class Visit {
   public:
    explicit Visit(Crew& crew) : crew_(crew), alone_(crew.visitors_.fetch_add(1) == 0) {}
    ~Visit() { --crew_.visitors_; }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    // Whether nobody else computed when this began: then there are cores for the crew's threads.
    bool alone() const { return alone_; }

   private:
    Crew& crew_;
    bool alone_;
  };

 private:
  void serve();

  const int64_t count_;
  std::atomic<int64_t> visitors_{0};
  std::mutex mutex_;
  std::condition_variable invited_;
  std::shared_ptr<const std::function<void()>> work_;
  int64_t round_ = 0, taken_ = 0;  // invitations; threads that took up the last one
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
    explicit Walker(SharedSteps& steps) : steps_(steps) {}
    // Claims and does items of this thread's next step, `each` at a time, until none is left; then
    // waits until those that others claimed are done. fn(begin, end).
    template <class Fn>
    void step(int64_t items, int64_t each, const Fn& fn) {
      Step& step = steps_.steps_.at(next_++);
      for (int64_t begin; (begin = step.claimed.fetch_add(each)) < items;) {
        const int64_t end = begin + each < items ? begin + each : items;
        fn(begin, end);
        step.done.fetch_add(end - begin, std::memory_order_acq_rel);
      }
      wait_for(step.done, items);
    }

   private:
    SharedSteps& steps_;
    size_t next_ = 0;
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

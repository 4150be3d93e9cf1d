// A value that one thread replaces whole while others read it. Readers keep what they took hold of.
#pragma once
#include <memory>
#include <mutex>
#include <utility>

namespace parapet {

template <class T>
class Swapped {
 public:
  explicit Swapped(std::shared_ptr<T> value = nullptr) : value_(std::move(value)) {}
  std::shared_ptr<T> load() const {
    const std::lock_guard lock(mutex_);
    return value_;
  }
  // The old value ends here, or with its last reader.
  void store(std::shared_ptr<T> value) {
    {
      const std::lock_guard lock(mutex_);
      value_.swap(value);
    }
  }

 private:
  mutable std::mutex mutex_;  // held for a copy only
  std::shared_ptr<T> value_;
};

}  // namespace parapet

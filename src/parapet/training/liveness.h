// Signs of life in the processes' common store, so that one may wait for another without a time
// limit and still notice when it is gone.
#pragma once
#include <c10/util/intrusive_ptr.h>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "parapet/core/context.h"
#include "parapet/training/communicator.h"

namespace parapet {

class Liveness {
 public:
  // Counts in the store on a thread of its own until destroyed.
  Liveness(c10::intrusive_ptr<c10d::Store> store, const WorldInfo& info);
  ~Liveness();
  Liveness(const Liveness&) = delete;
  Liveness& operator=(const Liveness&) = delete;

  // See Communicator::meet. A process that has not counted for `info.timeout_seconds` counts as
  // lost; one that left in good order, by an error of its own, is noticed at once.
  void meet(const Context& context);

 private:
  int64_t read(const std::string& key);
  void wait_for(int64_t rank, const std::string& place, const Context& context);

  c10::intrusive_ptr<c10d::Store> store_;
  WorldInfo info_;
  int64_t meetings_ = 0;
  std::mutex mutex_;
  std::condition_variable ending_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace parapet

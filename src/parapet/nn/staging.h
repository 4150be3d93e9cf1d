// Tensors on their way from memory to a device, copied on a stream of their own while the device
// computes. On the CPU there is nothing to do, and nothing is done.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <deque>
#include <memory>
#include <optional>
#include <vector>

namespace parapet::nn {

// When what was sent is there. Empty for the CPU.
class Arrival {
 public:
  // Call before the tensors are used, on the thread that uses them: work given to the device from
  // then on starts after the copy. The thread itself does not wait.
  void wait() const;

 private:
  friend class Staging;
  struct Sent;
  std::shared_ptr<const Sent> sent_;
};

// Thread-safe.
class Staging {
 public:
  explicit Staging(at::Device device);

  at::Device device() const { return device_; }
  // Memory to fill and send: page-locked for CUDA, from which alone copies run by themselves.
  at::Tensor memory(at::IntArrayRef shape, at::ScalarType type) const;
  // Starts to copy tensors in memory to the device; each pointed to becomes that of the device.
  // Undefined ones, and those that are there already, stay. Memory that is not page-locked is
  // copied into some that is first, on this thread.
  Arrival send(const std::vector<at::Tensor*>& tensors) const;

 private:
  at::Device device_;
  std::optional<c10::Stream> stream_;
};

// Keeps a thread from running ahead of the device without end, which would hold memory for all the
// work it gave.
class Pace {
 public:
  // At most `depth` steps are under way.
  Pace(at::Device device, size_t depth);
  // Ends a step: waits until the one `depth` before it is done.
  void step();
  // Waits for all steps.
  void finish();

 private:
  at::Device device_;
  size_t depth_;
  std::deque<c10::Event> marks_;
};

// A tensor in memory on `device`, copied in the order of the device's other work; the thread does
// not wait. For small ones that are needed at once.
at::Tensor to_device(const at::Tensor& tensor, at::Device device);

}  // namespace parapet::nn

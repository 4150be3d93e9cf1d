#include "parapet/nn/staging.h"

#include <ATen/ATen.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/accumulate.h>

namespace parapet::nn {

struct Arrival::Sent {
  explicit Sent(at::Device d) : device(d), done(d.type()) {}
  at::Device device;
  c10::Event done;
  std::vector<at::Tensor> tensors;
};

void Arrival::wait() const {
  if (!sent_) return;
  const c10::Stream now =
      c10::impl::VirtualGuardImpl(sent_->device.type()).getStream(sent_->device);
  sent_->done.block(now);
  // The memory belongs to the copy's stream: it must not be given away there while this one reads.
  for (const at::Tensor& tensor : sent_->tensors) tensor.record_stream(now);
}

Staging::Staging(at::Device device) : device_(device) {
  if (device.is_cpu()) return;
  const c10::impl::VirtualGuardImpl guard(device.type());
  if (!device.has_index()) device_ = guard.getDevice();
  stream_ = guard.getStreamFromGlobalPool(device_);
}

at::Tensor Staging::memory(at::IntArrayRef shape, at::ScalarType type) const {
  // Page-locked memory is taken from the whole machine: a large result goes without.
  constexpr int64_t kMostBytes = int64_t{512} << 20;
  const int64_t bytes =
      c10::multiply_integers(shape) * static_cast<int64_t>(c10::elementSize(type));
  const bool locked = device_.is_cuda() && bytes <= kMostBytes;
  return at::empty(shape, at::TensorOptions().dtype(type).pinned_memory(locked));
}

Arrival Staging::send(const std::vector<at::Tensor*>& tensors) const {
  Arrival arrival;
  if (!stream_) return arrival;
  const at::NoGradGuard no_grad;
  const c10::StreamGuard on_stream(*stream_);
  auto sent = std::make_shared<Arrival::Sent>(device_);
  for (at::Tensor* tensor : tensors) {
    if (!tensor->defined() || tensor->device() == device_) continue;
    *tensor = to_device(*tensor, device_);
    sent->tensors.push_back(*tensor);
  }
  if (sent->tensors.empty()) return arrival;
  sent->done.record(*stream_);
  arrival.sent_ = std::move(sent);
  return arrival;
}

Pace::Pace(at::Device device, size_t depth) : device_(device), depth_(depth) {}

void Pace::step() {
  if (device_.is_cpu()) return;
  marks_.emplace_back(device_.type());
  marks_.back().record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
  if (marks_.size() <= depth_) return;
  marks_.front().synchronize();
  marks_.pop_front();
}

void Pace::finish() {
  if (!marks_.empty()) marks_.back().synchronize();
  marks_.clear();
}

at::Tensor to_device(const at::Tensor& tensor, at::Device device) {
  if (tensor.device() == device) return tensor;
  const bool ready = !device.is_cuda() || tensor.is_pinned();
  return (ready ? tensor : tensor.pin_memory()).to(device, tensor.scalar_type(), true);
}

}  // namespace parapet::nn

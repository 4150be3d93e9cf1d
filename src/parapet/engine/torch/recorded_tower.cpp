#include "parapet/engine/torch/recorded_tower.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>

namespace parapet {
namespace {

// Larger batches keep the device busy by themselves.
constexpr int64_t kMostRows = 64;
// A shape that comes by once is not worth recording; each recording holds memory of its own.
constexpr int64_t kUsesBefore = 2;
constexpr size_t kMostShapes = 32;

}  // namespace

RecordedTower::RecordedTower(Tower tower, Recorder recorder)
    : tower_(std::move(tower)), recorder_(std::move(recorder)) {}

size_t RecordedTower::recordings() const {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(
      std::count_if(recordings_.begin(), recordings_.end(),
                    [](const auto& one) { return one.second.graph != nullptr; }));
}

bool RecordedTower::given_up() const {
  const std::lock_guard lock(mutex_);
  return given_up_;
}

at::Tensor RecordedTower::run(const at::Tensor& input) {
  const int64_t rows = input.size(0);
  if (!recorder_ || rows < 1 || rows > kMostRows) return tower_(input);
  auto shape = input.sizes().vec();
  shape[0] = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(rows)));
  // Held while work is given to the device: a recording's memory is used by one call at a time, in
  // the order of the device's stream.
  const std::lock_guard lock(mutex_);
  const bool known = recordings_.contains(shape);
  if (given_up_ || (!known && recordings_.size() >= kMostShapes)) return tower_(input);
  Recording& recording = recordings_[shape];
  if (recording.graph) return replay(recording, input);
  const at::Tensor result = tower_(input);
  if (++recording.uses >= kUsesBefore) {
    recording.input = at::zeros(shape, input.options());
    record(recording, input, result);
  }
  return result;
}

at::Tensor RecordedTower::replay(const Recording& recording, const at::Tensor& input) const {
  recording.input.narrow(0, 0, input.size(0)).copy_(input);
  recording.graph->replay();
  return recording.output.narrow(0, 0, input.size(0)).clone();
}

// `result` is what the tower itself made of `input`: the recording must make the same of it, but
// for rounding, since other rows may lead to other algorithms.
void RecordedTower::record(Recording& recording, const at::Tensor& input,
                           const at::Tensor& result) {
  try {
    recording.graph = recorder_([&] { recording.output = tower_(recording.input); });
    const at::Tensor again = replay(recording, input).to(at::kFloat), own = result.to(at::kFloat);
    const at::Tensor cosine = at::cosine_similarity(again, own, 1);
    if (cosine.min().item<double>() > 0.999) return;
  } catch (const std::exception&) {
    // E.g. no memory for it, or something in the tower that waits for the device.
  }
  given_up_ = true;
  recordings_.clear();
}

}  // namespace parapet

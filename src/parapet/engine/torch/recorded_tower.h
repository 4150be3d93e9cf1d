// A tower whose small batches, where starting each step costs more than computing it, are recorded
// once and given to the device as one launch.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "parapet/nn/device_graph.h"

namespace parapet {

class RecordedTower {
 public:
  using Tower = std::function<at::Tensor(const at::Tensor&)>;
  using Recorder = std::function<std::unique_ptr<nn::DeviceGraph>(const std::function<void()>&)>;

  // The tower's weights must not change. Without a recorder every call runs the tower itself.
  explicit RecordedTower(Tower tower, Recorder recorder = nullptr);

  // What the tower makes of `input`, rows first. Thread-safe where the tower is.
  at::Tensor run(const at::Tensor& input);

  // Recordings in use, and whether one failed or gave another result than the tower, after which
  // none is made or used any more.
  size_t recordings() const;
  bool given_up() const;

 private:
  struct Recording {
    int64_t uses = 0;
    at::Tensor input, output;
    std::unique_ptr<nn::DeviceGraph> graph;
  };
  at::Tensor replay(const Recording& recording, const at::Tensor& input) const;
  void record(Recording& recording, const at::Tensor& input, const at::Tensor& result);

  Tower tower_;
  Recorder recorder_;
  mutable std::mutex mutex_;
  bool given_up_ = false;
  std::map<std::vector<int64_t>, Recording> recordings_;  // by shape, rows rounded up
};

}  // namespace parapet

// What a step's micro-batches report, summed with their weights where it was computed and read
// once.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "parapet/training/communicator.h"
#include "parapet/training/task.h"

namespace parapet {

class StepNumbers {
 public:
  void add(const StepLoss& part);

  double weight() const { return weight_; }
  double samples() const { return samples_; }
  // Sum of weight x loss, a scalar on the losses' device; undefined before add().
  const at::Tensor& loss_sum() const { return loss_; }
  // Weighted means by name in the order names were first seen, over all ranks: call on every rank.
  // A term that only some micro-batches or ranks report is the mean over those.
  std::vector<std::pair<std::string, double>> terms(Communicator& communicator) const;

 private:
  struct Term {
    std::string name;
    at::Tensor sum;
    double weight = 0;
  };
  double weight_ = 0, samples_ = 0;
  at::Tensor loss_;
  std::vector<Term> terms_;
};

}  // namespace parapet

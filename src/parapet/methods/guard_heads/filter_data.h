// Labelled samples as tensors for training guard heads.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "parapet/data/dataset.h"
#include "parapet/data/guard_targets.h"
#include "parapet/data/sources/source.h"
#include "parapet/methods/guard_heads/filter_options.h"

namespace parapet {

// What a batch is asked for. Targets are 0, 1, or -1 = not asked.
struct FilterTargets {
  std::array<at::Tensor, 3> harm;  // by HeadInput: float32 [n, categories + 1], last = any harm
  // The pair's verdict by grade, of the same shape: explicit (implicit counts as 0), implicit
  // (explicit is not asked).
  at::Tensor explicit_pair, implicit_pair;
  at::Tensor contradiction;  // float32 [n]
  at::Tensor weight;         // float32 [n], mean 1
  at::Tensor group;          // int64 [n], -1 = unknown
  FilterTargets select(const at::Tensor& rows) const;
  FilterTargets on(at::Device device) const;
  std::vector<at::Tensor*> tensors();

 private:
  FilterTargets map(const std::function<at::Tensor(const at::Tensor&)>& change) const;
};

struct FilterSet {
  std::vector<LabelSample> samples;
  std::vector<std::string> categories;
  FilterTargets targets;
  std::vector<std::string> group_names;
  std::vector<double> draw_weights;  // of resampling; empty = every sample once per epoch
  std::vector<double> draw_sums;     // their running sums
  int64_t size() const { return static_cast<int64_t>(samples.size()); }
};

// Targets, groups and balance of `samples`. Sets other than the training set take `categories` and
// no balance.
FilterSet make_filter_set(std::vector<LabelSample> samples, std::vector<std::string> categories,
                          const FilterOptions& options, bool balance);

// The rows of one batch.
struct FilterRows {
  int64_t index = 0;  // of all processes' batches
  std::vector<int64_t> rows;
};
// One process's endless share of the training batches: weighted draws, or a shuffled epoch after
// another. `set` outlives it.
SourcePtr<FilterRows> filter_rows(const FilterSet& set, uint64_t seed, int64_t batch, int64_t rank,
                                  int64_t ranks);

// Table of the balance: cell, samples, share drawn. For the run's log.
std::vector<std::string> balance_table(const FilterSet& set, const BiasOptions& options);

}  // namespace parapet

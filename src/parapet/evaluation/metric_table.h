// Named quantities measured once per item, so that means, intervals and sub-groups come from one
// place.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "parapet/metrics/estimate.h"

namespace parapet {

using NamedEstimates = std::vector<std::pair<std::string, Estimate>>;

class MetricTable {
 public:
  explicit MetricTable(int64_t items) : items_(items) {}
  int64_t items() const { return items_; }
  // A value per item; 0 or 1 for shares.
  void add(std::string name, std::vector<float> values);
  void add(std::string name, const std::function<float(int64_t item)>& value);
  // [n] tensor of any number type.
  void add(std::string name, const at::Tensor& values);

  const std::vector<std::string>& names() const { return names_; }
  // Null when there is none.
  const std::vector<float>* find(std::string_view name) const;
  // Means with intervals, in the order of adding; over `rows` only when given.
  NamedEstimates estimates(const BootstrapOptions& options,
                           const std::vector<int64_t>* rows = nullptr) const;
  // The same for some of the names, in that order; unknown names are left out.
  NamedEstimates estimates(const std::vector<std::string>& names, const BootstrapOptions& options,
                           const std::vector<int64_t>& rows) const;

 private:
  int64_t items_;
  std::vector<std::string> names_;
  std::vector<std::vector<float>> columns_;
};

}  // namespace parapet

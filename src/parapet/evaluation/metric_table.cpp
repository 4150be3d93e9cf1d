#include "parapet/evaluation/metric_table.h"
#include "parapet/evaluation/bootstrap.h"

#include <ATen/ATen.h>

#include <numeric>

#include "parapet/core/error.h"

namespace parapet {
namespace {

NamedEstimates estimate(const std::vector<std::string>& names,
                        const std::vector<const std::vector<float>*>& columns,
                        const std::vector<int64_t>& rows, const BootstrapOptions& options) {
  at::Tensor values = at::empty(
      {static_cast<int64_t>(columns.size()), static_cast<int64_t>(rows.size())}, at::kFloat);
  float* out = values.data_ptr<float>();
  for (const auto* column : columns)
    for (const int64_t row : rows) *out++ = (*column)[static_cast<size_t>(row)];
  const std::vector<Estimate> means = bootstrap_means(values, options);
  NamedEstimates result;
  for (size_t i = 0; i < names.size(); ++i) result.emplace_back(names[i], means[i]);
  return result;
}

}  // namespace

void MetricTable::add(std::string name, std::vector<float> values) {
  if (static_cast<int64_t>(values.size()) != items_)
    throw Error(ErrorKind::kInternal, "metric '" + name + "' has " + std::to_string(values.size()) +
                                          " values for " + std::to_string(items_) + " items");
  names_.push_back(std::move(name));
  columns_.push_back(std::move(values));
}

void MetricTable::add(std::string name, const std::function<float(int64_t)>& value) {
  std::vector<float> values(static_cast<size_t>(items_));
  for (int64_t i = 0; i < items_; ++i) values[static_cast<size_t>(i)] = value(i);
  add(std::move(name), std::move(values));
}

void MetricTable::add(std::string name, const at::Tensor& values) {
  const at::Tensor plain = values.to(at::kCPU, at::kFloat).contiguous();
  const float* data = plain.const_data_ptr<float>();
  add(std::move(name), std::vector<float>(data, data + plain.numel()));
}

const std::vector<float>* MetricTable::find(std::string_view name) const {
  for (size_t i = 0; i < names_.size(); ++i)
    if (names_[i] == name) return &columns_[i];
  return nullptr;
}

NamedEstimates MetricTable::estimates(const BootstrapOptions& options,
                                      const std::vector<int64_t>* rows) const {
  std::vector<const std::vector<float>*> columns;
  for (const auto& column : columns_) columns.push_back(&column);
  std::vector<int64_t> all(static_cast<size_t>(items_));
  std::iota(all.begin(), all.end(), 0);
  return estimate(names_, columns, rows != nullptr ? *rows : all, options);
}

NamedEstimates MetricTable::estimates(const std::vector<std::string>& names,
                                      const BootstrapOptions& options,
                                      const std::vector<int64_t>& rows) const {
  std::vector<std::string> known;
  std::vector<const std::vector<float>*> columns;
  for (const auto& name : names)
    if (const auto* column = find(name)) {
      known.push_back(name);
      columns.push_back(column);
    }
  return estimate(known, columns, rows, options);
}

}  // namespace parapet

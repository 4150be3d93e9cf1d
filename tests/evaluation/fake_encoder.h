// An encoder that looks embeddings up in a table, to test protocols without a model.
#pragma once
#include <ATen/ATen.h>

#include <map>
#include <string>
#include <vector>

#include "parapet/core/error.h"
#include "support/item_encoder.h"

namespace parapet {

class FakeEncoder final : public test::ItemEncoder {
 public:
  explicit FakeEncoder(int64_t d) : dim_(d) {}
  // Normalised on the way in.
  void set(const std::string& item, std::vector<float> values) {
    at::Tensor row = at::tensor(values);
    rows_[item] = row / row.norm();
  }
  void set_raw(const std::string& item, const at::Tensor& row) { rows_[item] = row; }

  int64_t dim() const override { return dim_; }
  double logit_scale() const override { return 100; }

 private:
  at::Tensor rows(const std::vector<std::string>& items) override {
    std::vector<at::Tensor> found;
    for (const auto& item : items) {
      const auto it = rows_.find(item);
      if (it == rows_.end()) throw DataError(item, "cannot be opened");
      found.push_back(it->second);
    }
    return found.empty() ? at::empty({0, dim_}) : at::stack(found);
  }
  int64_t dim_;
  std::map<std::string, at::Tensor> rows_;
};

}  // namespace parapet

// An encoder that looks embeddings up in a table, to test protocols without a model.
#pragma once
#include <ATen/ATen.h>

#include <map>
#include <string>
#include <vector>

#include "parapet/core/error.h"
#include "parapet/engine/encoder.h"

namespace parapet {

class FakeEncoder final : public Encoder {
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
  at::Tensor encode_images(const std::vector<std::string>& items, const Context&) override {
    return look_up(items);
  }
  at::Tensor encode_texts(const std::vector<std::string>& items, const Context&) override {
    return look_up(items);
  }
  const EncodeStats& image_stats() const override { return stats_; }
  const EncodeStats& text_stats() const override { return stats_; }

 private:
  at::Tensor look_up(const std::vector<std::string>& items) {
    std::vector<at::Tensor> rows;
    for (const auto& item : items) {
      const auto it = rows_.find(item);
      if (it == rows_.end()) throw DataError(item, "cannot be opened");
      rows.push_back(it->second);
    }
    return rows.empty() ? at::empty({0, dim_}) : at::stack(rows);
  }
  int64_t dim_;
  std::map<std::string, at::Tensor> rows_;
  EncodeStats stats_;
};

}  // namespace parapet

// Shared by the searches: checked inputs and how queries are cut into blocks.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace parapet {

struct TopKOptions {
  int64_t query_block = 192;     // queries per block; rounded up to the kernel's row group
  int64_t gallery_block = 2048;  // gallery rows per float32 tile
  std::string filter = "auto";   // auto | int8 | fp32; int8 falls back where unsupported
  // Left out of one query's results, e.g. its own twin: int64 [n], -1 = none. Undefined = none.
  at::Tensor exclude;
};

// Rows of a float32 matrix.
struct RowView {
  const float* data = nullptr;
  int64_t rows = 0, width = 0;
  const float* row(int64_t i) const { return data + i * width; }
};

// Queries, gallery and options after all checks; see top_k for what is refused.
struct SearchInput {
  SearchInput(const at::Tensor& queries, const at::Tensor& gallery, const TopKOptions& options);
  // The gallery row left out of a query's results, -1 = none.
  int64_t excluded(int64_t query) const { return exclude_ == nullptr ? -1 : exclude_[query]; }

  at::Tensor query_rows, gallery_rows;  // contiguous float32 on the CPU
  RowView queries, gallery;
  float gemm_slack = 0;    // bound on the rounding of a float32 GEMM of these rows
  int64_t block_rows = 0;  // queries per block: full blocks for every thread, whole row groups
  int64_t blocks = 0;
  int64_t gallery_block = 0;

 private:
  at::Tensor exclude_rows_;
  const int64_t* exclude_ = nullptr;
};

}  // namespace parapet

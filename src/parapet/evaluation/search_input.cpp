#include "parapet/evaluation/search_input.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "parapet/core/error.h"
#include "parapet/core/options.h"
#include "parapet/evaluation/exact_dot.h"
#include "parapet/evaluation/int8_filter.h"

namespace parapet {
namespace {

// Rounding of a float32 GEMM relative to |q||g|, with room for any summation order in use.
constexpr double kGemmSlack = 2e-5;

// Contiguous float32 CPU rows, all finite; `largest` gets the largest row norm.
at::Tensor checked(const at::Tensor& rows, const char* what, double& largest) {
  if (!rows.defined() || rows.dim() != 2)
    throw DataError(what, "must be a matrix with one row per item");
  const at::Tensor plain = rows.detach().to(at::kCPU, at::kFloat).contiguous();
  const RowView view{plain.const_data_ptr<float>(), plain.size(0), plain.size(1)};
  std::vector<double> squares(static_cast<size_t>(view.rows));
  at::parallel_for(0, view.rows, 256, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      squares[i] = exact_dot(view.row(i), view.row(i), view.width);
  });
  largest = 0;
  for (int64_t i = 0; i < view.rows; ++i) {
    if (!std::isfinite(squares[i]))
      throw DataError(what, "row " + std::to_string(i) + " is not finite (NaN or infinity)",
                      "Check the model's weights and the input that made this embedding.");
    largest = std::max(largest, squares[i]);
  }
  largest = std::sqrt(largest);
  return plain;
}

void check_options(const TopKOptions& options, int64_t n) {
  Problems problems;
  problems.require(options.query_block > 0, "query_block", "must be > 0");
  problems.require(options.gallery_block > 0, "gallery_block", "must be > 0");
  problems.require(options.filter == "auto" || options.filter == "int8" || options.filter == "fp32",
                   "filter", "must be auto, int8 or fp32");
  problems.require(
      !options.exclude.defined() || (options.exclude.dim() == 1 && options.exclude.size(0) == n &&
                                     options.exclude.scalar_type() == at::kLong),
      "exclude", "must be int64 with one entry per query");
  problems.throw_if_any("nearest neighbour search");
}

int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

}  // namespace

SearchInput::SearchInput(const at::Tensor& query_matrix, const at::Tensor& gallery_matrix,
                         const TopKOptions& options) {
  double query_norm = 0, gallery_norm = 0;
  query_rows = checked(query_matrix, "queries", query_norm);
  gallery_rows = checked(gallery_matrix, "gallery", gallery_norm);
  queries = {query_rows.const_data_ptr<float>(), query_rows.size(0), query_rows.size(1)};
  gallery = {gallery_rows.const_data_ptr<float>(), gallery_rows.size(0), gallery_rows.size(1)};
  if (gallery.rows == 0) throw DataError("gallery", "is empty");
  if (queries.width != gallery.width)
    throw DataError("queries", "have width " + std::to_string(queries.width) +
                                   " but the gallery has " + std::to_string(gallery.width));
  check_options(options, queries.rows);
  if (options.exclude.defined()) {
    exclude_rows_ = options.exclude.cpu().contiguous();
    exclude_ = exclude_rows_.const_data_ptr<int64_t>();
  }
  gemm_slack = static_cast<float>(kGemmSlack * query_norm * gallery_norm);
  gallery_block = options.gallery_block;
  const int64_t n = std::max<int64_t>(1, queries.rows);
  const int64_t wanted = round_up((n + options.query_block - 1) / options.query_block,
                                  std::max(1, at::get_num_threads()));
  block_rows = round_up((n + wanted - 1) / wanted, Int8Gallery::kGroup);
  blocks = (queries.rows + block_rows - 1) / block_rows;
}

}  // namespace parapet

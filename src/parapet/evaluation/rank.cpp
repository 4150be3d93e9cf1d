#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "parapet/core/error.h"
#include "parapet/evaluation/exact_dot.h"
#include "parapet/evaluation/search_input.h"
#include "parapet/evaluation/topk.h"

namespace parapet {
namespace {

// One query: its target and what is ahead of it so far.
struct Ranked {
  int64_t query, target;
  double score;  // of the target, exact
  int64_t ahead = 0;
};

// Counts the rows [first, first + columns) ahead of the target. `approx` holds their float32
// scores; those within the rounding bound of the target's are decided exactly.
void count_ahead(const SearchInput& input, const float* approx, int64_t first, int64_t columns,
                 Ranked& ranked) {
  const float low = static_cast<float>(ranked.score) - input.gemm_slack;
  const float high = static_cast<float>(ranked.score) + input.gemm_slack;
  int64_t ahead = 0, unsure = 0;
  for (int64_t c = 0; c < columns; ++c) {
    ahead += approx[c] > high;
    unsure += approx[c] >= low && approx[c] <= high;
  }
  const int64_t excluded = input.excluded(ranked.query);
  if (excluded >= first && excluded < first + columns && approx[excluded - first] > high) --ahead;
  for (int64_t c = 0; unsure > 0 && c < columns; ++c) {
    if (approx[c] < low || approx[c] > high) continue;
    --unsure;
    const int64_t j = first + c;
    if (j == ranked.target || j == excluded) continue;
    const double score =
        exact_dot(input.queries.row(ranked.query), input.gallery.row(j), input.gallery.width);
    ahead += score > ranked.score || (score == ranked.score && j < ranked.target);
  }
  ranked.ahead += ahead;
}

void rank_block(const SearchInput& input, int64_t first, const int64_t* targets, int64_t* ranks) {
  const int64_t count = std::min(input.block_rows, input.queries.rows - first);
  const int64_t m = input.gallery.rows;
  std::vector<Ranked> block;
  for (int64_t i = first; i < first + count; ++i)
    block.push_back({i, targets[i],
                     targets[i] < 0 ? 0.0
                                    : exact_dot(input.queries.row(i), input.gallery.row(targets[i]),
                                                input.gallery.width)});
  const at::Tensor rows = input.query_rows.narrow(0, first, count);
  for (int64_t j = 0; j < m; j += input.gallery_block) {
    const int64_t columns = std::min(input.gallery_block, m - j);
    const at::Tensor tile = at::mm(rows, input.gallery_rows.narrow(0, j, columns).t());
    const float* approx = tile.const_data_ptr<float>();
    for (int64_t i = 0; i < count; ++i)
      if (block[i].target >= 0) count_ahead(input, approx + i * columns, j, columns, block[i]);
  }
  for (const Ranked& ranked : block) ranks[ranked.query] = ranked.target < 0 ? m : ranked.ahead;
}

}  // namespace

at::Tensor rank_of(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& targets,
                   const TopKOptions& options) {
  const SearchInput input(queries, gallery, options);
  const int64_t n = input.queries.rows;
  if (targets.dim() != 1 || targets.size(0) != n || targets.scalar_type() != at::kLong)
    throw UsageError("targets must be int64 with one entry per query");
  const at::Tensor wanted = targets.cpu().contiguous();
  const int64_t* target = wanted.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < n; ++i)
    if (target[i] < -1 || target[i] >= input.gallery.rows)
      throw UsageError("target of query " + std::to_string(i) + " lies outside the gallery");
  at::Tensor ranks = at::empty({n}, at::kLong);
  at::parallel_for(0, input.blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      rank_block(input, b * input.block_rows, target, ranks.data_ptr<int64_t>());
  });
  return ranks;
}

}  // namespace parapet

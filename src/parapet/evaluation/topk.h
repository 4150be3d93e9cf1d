// Exact nearest neighbours by inner product (cosine for L2-normalised rows), streamed: never a
// queries x gallery matrix in memory.
//
// Each block of queries meets the gallery in tiles. A tile's scores are approximate with a proven
// error bound (8-bit dot products where the processor has AVX-512 VNNI, else a float32 GEMM); only
// pairs that the bound cannot rule out are scored exactly, in double precision. The result
// therefore equals a full computation in double, whatever the block sizes and thread count.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "parapet/evaluation/search_input.h"

namespace parapet {

// What a search did; sums over all queries.
struct TopKStats {
  int64_t pairs = 0;       // query-gallery pairs decided
  int64_t rescored = 0;    // of them in double precision
  int64_t int8_pairs = 0;  // of them filtered by the 8-bit kernel
  double seconds = 0;
};

struct TopK {
  at::Tensor indices;  // int64 [n, k], best first; equal scores by lower index; -1 = none left
  at::Tensor scores;   // float32 [n, k]; -inf where the index is -1
  TopKStats stats;
};

// `queries` [n, d], `gallery` [m, d], float32 on the CPU; 1 <= k <= m. DataError on an empty
// gallery, differing widths or a row that is not finite (named); UsageError on bad k or options.
TopK top_k(const at::Tensor& queries, const at::Tensor& gallery, int64_t k,
           const TopKOptions& options = {});

// For each query the number of gallery rows ahead of its target (int64 [n], 0 = first): those with
// a higher score, or an equal one and a lower index. R@K is the share of ranks < K. `targets` is
// int64 [n]; -1 gives m.
at::Tensor rank_of(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& targets,
                   const TopKOptions& options = {});

}  // namespace parapet

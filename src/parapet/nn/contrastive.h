// Losses on embedding pairs that several methods share.
#pragma once
#include <ATen/core/Tensor.h>

namespace parapet::nn {

// Rows to unit length in float32.
at::Tensor normalise_rows(const at::Tensor& x);

// Symmetric InfoNCE (CLIP, arXiv 2103.00020, figure 3): x, y [n, d] unit rows, row i of x belongs
// to row i of y; `scale` multiplies the cosines (a scalar tensor or a constant). Mean of the two
// cross-entropies. Where `duplicates` [n, n] bool (may be undefined) is true, row j of the other
// side belongs to row i as well and is no negative of it.
at::Tensor info_nce(const at::Tensor& x, const at::Tensor& y, const at::Tensor& scale,
                    const at::Tensor& duplicates = {});
at::Tensor info_nce(const at::Tensor& x, const at::Tensor& y, double scale,
                    const at::Tensor& duplicates = {});

// Which rows say the same: true at (i, j), i != j, where key i equals key j in `x_keys` or in
// `y_keys` (int64 [n], equal for equal content). Undefined when either is.
at::Tensor duplicate_rows(const at::Tensor& x_keys, const at::Tensor& y_keys);

// Share of rows whose nearest gallery row (largest product) is the one of the same number; queries
// and gallery [n, d]. In blocks, so that no n x n matrix is kept.
double recall_at_1(const at::Tensor& queries, const at::Tensor& gallery);

// Row-wise cosine of unit rows, [n].
at::Tensor row_cosine(const at::Tensor& x, const at::Tensor& y);

}  // namespace parapet::nn

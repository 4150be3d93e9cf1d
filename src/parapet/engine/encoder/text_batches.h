// Texts as id batches of similar length.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "parapet/text/tokenizer.h"

namespace parapet {

// All texts tokenised on plain threads, truncated to `max_length` tokens.
std::vector<std::vector<int32_t>> tokenize_all(const Tokenizer& tokenizer,
                                               const std::vector<std::string>& texts,
                                               int64_t max_length, int64_t threads);

// Rows of ids as int64 [n, longest], padded with `pad`; the width is rounded up to a multiple of
// `multiple`, though not beyond `most` (0 = no bound).
at::Tensor pad_ids(const std::vector<const std::vector<int32_t>*>& rows, int64_t pad,
                   int64_t multiple = 1, int64_t most = 0);

// Groups indices 0..n-1 by length: each batch holds up to `batch` texts whose lengths are close, so
// little padding is computed. Longest first, so that memory peaks at once.
std::vector<std::vector<int64_t>> length_buckets(const std::vector<std::vector<int32_t>>& ids,
                                                 int64_t batch);

}  // namespace parapet

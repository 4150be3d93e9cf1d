#include "parapet/engine/encoder/text_batches.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "parapet/core/threads.h"

namespace parapet {

std::vector<std::vector<int32_t>> tokenize_all(const Tokenizer& tokenizer,
                                               const std::vector<std::string>& texts,
                                               int64_t max_length, int64_t threads) {
  std::vector<std::vector<int32_t>> ids(texts.size());
  constexpr int64_t kChunk = 256;
  const auto count = static_cast<int64_t>(texts.size());
  EncodeOptions options;
  options.max_length = max_length;
  parallel_items((count + kChunk - 1) / kChunk, threads, [&](int64_t chunk) {
    const int64_t end = std::min(count, (chunk + 1) * kChunk);
    for (int64_t i = chunk * kChunk; i < end; ++i) ids[i] = tokenizer.encode(texts[i], options);
  });
  return ids;
}

at::Tensor pad_ids(const std::vector<const std::vector<int32_t>*>& rows, int64_t pad,
                   int64_t multiple, int64_t most) {
  size_t longest = 1;
  for (const auto* row : rows) longest = std::max(longest, row->size());
  const auto step = static_cast<size_t>(multiple);
  const size_t rounded = (longest + step - 1) / step * step;
  const size_t bound = most > 0 ? static_cast<size_t>(most) : rounded;
  longest = std::max(longest, std::min(rounded, bound));
  at::Tensor batch =
      at::full({static_cast<int64_t>(rows.size()), static_cast<int64_t>(longest)}, pad, at::kLong);
  int64_t* data = batch.data_ptr<int64_t>();
  for (size_t i = 0; i < rows.size(); ++i)
    std::copy(rows[i]->begin(), rows[i]->end(), data + i * longest);
  return batch;
}

std::vector<std::vector<int64_t>> length_buckets(const std::vector<std::vector<int32_t>>& ids,
                                                 int64_t batch) {
  std::vector<int64_t> order(ids.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return ids[a].size() > ids[b].size(); });
  std::vector<std::vector<int64_t>> batches;
  for (size_t start = 0; start < order.size(); start += static_cast<size_t>(batch))
    batches.emplace_back(order.begin() + static_cast<int64_t>(start),
                         order.begin() + static_cast<int64_t>(std::min(
                                             order.size(), start + static_cast<size_t>(batch))));
  return batches;
}

}  // namespace parapet

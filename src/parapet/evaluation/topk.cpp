#include "parapet/evaluation/topk.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "parapet/core/error.h"
#include "parapet/evaluation/exact_dot.h"
#include "parapet/evaluation/int8_filter.h"
#include "parapet/evaluation/search_input.h"

namespace parapet {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Above this share of pairs to rescore, the 8-bit filter does not pay.
constexpr double kGiveUpShare = 0.06;

// The k best of one query, worst of them on top of a heap.
class Selection {
 public:
  explicit Selection(int64_t k) : k_(static_cast<size_t>(k)) { heap_.reserve(k_); }
  // A lower bound (rounded down) on what a new entry must reach.
  float threshold() const { return threshold_; }
  void push(double score, int64_t index) {
    const Entry entry{score, index};
    if (heap_.size() < k_) {
      heap_.push_back(entry);
      std::push_heap(heap_.begin(), heap_.end(), better);
    } else if (better(entry, heap_.front())) {
      std::pop_heap(heap_.begin(), heap_.end(), better);
      heap_.back() = entry;
      std::push_heap(heap_.begin(), heap_.end(), better);
    } else {
      return;
    }
    if (heap_.size() == k_)
      threshold_ = std::nextafter(static_cast<float>(heap_.front().score), -kInfinity);
  }
  void write(int64_t* indices, float* scores) {
    std::sort_heap(heap_.begin(), heap_.end(), better);
    for (size_t r = 0; r < k_; ++r) {
      indices[r] = r < heap_.size() ? heap_[r].index : -1;
      scores[r] = r < heap_.size() ? static_cast<float>(heap_[r].score) : -kInfinity;
    }
  }

 private:
  struct Entry {
    double score;
    int64_t index;
  };
  static bool better(const Entry& a, const Entry& b) {
    return a.score > b.score || (a.score == b.score && a.index < b.index);
  }
  size_t k_;
  float threshold_ = -kInfinity;
  std::vector<Entry> heap_;
};

// One block of queries: selections and counts, owned by one thread.
class Block {
 public:
  Block(const SearchInput& search, int64_t first, int64_t k)
      : search_(search),
        first_(first),
        count_(std::min(search.block_rows, search.queries.rows - first)),
        best_(static_cast<size_t>(count_), Selection(k)),
        thresholds_(static_cast<size_t>(count_), -kInfinity) {}

  // Scans panels with the 8-bit filter; returns the first gallery row not decided, when too many
  // pairs passed for it to pay.
  int64_t scan_int8(Int8Queries& queries, int64_t panels) {
    constexpr int64_t kPanel = Int8Gallery::kPanel;
    queries.load(search_.queries.row(first_), count_);
    int64_t passed = 0;
    for (int64_t panel = 0; panel < panels; ++panel) {
      candidates_.clear();
      for (int64_t group = 0; group < queries.groups(); ++group)
        queries.filter(group, panel, thresholds_.data(), candidates_);
      // By column: each gallery row then comes from memory once.
      std::sort(candidates_.begin(), candidates_.end(),
                [](const Candidate& a, const Candidate& b) { return a.column < b.column; });
      for (const Candidate& c : candidates_)
        if (quick_dot(search_.queries.row(first_ + c.row), search_.gallery.row(c.column),
                      search_.gallery.width) >= thresholds_[c.row] - search_.gemm_slack)
          consider(c.row, c.column);
      passed += static_cast<int64_t>(candidates_.size());
      const int64_t columns = std::min((panel + 1) * kPanel, search_.gallery.rows);
      stats.int8_pairs += count_ * (columns - panel * kPanel);
      // Judged every 64 panels, so that the first ones, before thresholds exist, weigh little.
      if (panel % 64 == 63) {
        const double share =
            static_cast<double>(passed) / static_cast<double>(count_ * kPanel * 64);
        if (share > kGiveUpShare && panel >= 127) return columns;
        passed = 0;
      }
    }
    return search_.gallery.rows;
  }

  // Scans gallery rows from `from` on through float32 tiles.
  void scan_float(int64_t from) {
    if (from >= search_.gallery.rows) return;
    const at::Tensor rows = search_.query_rows.narrow(0, first_, count_);
    at::Tensor tile;
    for (int64_t j = from; j < search_.gallery.rows; j += search_.gallery_block) {
      const int64_t columns = std::min(search_.gallery_block, search_.gallery.rows - j);
      const at::Tensor part = search_.gallery_rows.narrow(0, j, columns);
      if (!tile.defined() || tile.size(1) != columns) tile = at::empty({count_, columns});
      at::mm_out(tile, rows, part.t());
      const float* scores = tile.const_data_ptr<float>();
      for (int64_t i = 0; i < count_; ++i) scan_row(scores + i * columns, i, j, columns);
    }
  }

  void write(int64_t* indices, float* scores, int64_t k) {
    for (int64_t i = 0; i < count_; ++i)
      best_[i].write(indices + (first_ + i) * k, scores + (first_ + i) * k);
  }

  TopKStats stats;

 private:
  // In pieces, so that the threshold rises while the first tile is read.
  void scan_row(const float* scores, int64_t row, int64_t column, int64_t columns) {
    constexpr int64_t kPiece = 64;
    for (int64_t begin = 0; begin < columns; begin += kPiece) {
      const int64_t end = std::min(begin + kPiece, columns);
      const float bar = thresholds_[row] - search_.gemm_slack;
      int any = 0;
      for (int64_t j = begin; j < end; ++j) any |= scores[j] >= bar;
      if (any == 0) continue;
      for (int64_t j = begin; j < end; ++j)
        if (scores[j] >= thresholds_[row] - search_.gemm_slack) consider(row, column + j);
    }
  }

  void consider(int64_t row, int64_t column) {
    const int64_t query = first_ + row;
    if (search_.excluded(query) == column) return;
    ++stats.rescored;
    best_[row].push(
        exact_dot(search_.queries.row(query), search_.gallery.row(column), search_.gallery.width),
        column);
    thresholds_[row] = best_[row].threshold();
  }

  const SearchInput& search_;
  int64_t first_, count_;
  std::vector<Selection> best_;
  std::vector<float> thresholds_;
  std::vector<Candidate> candidates_;
};

}  // namespace

TopK top_k(const at::Tensor& queries, const at::Tensor& gallery, int64_t k,
           const TopKOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const SearchInput input(queries, gallery, options);
  const int64_t n = input.queries.rows, m = input.gallery.rows;
  if (k < 1 || k > m)
    throw UsageError("k must be in 1.." + std::to_string(m) + " (gallery rows), not " +
                     std::to_string(k));
  TopK result{at::empty({n, k}, at::kLong), at::empty({n, k}, at::kFloat), {}};
  if (n == 0) return result;

  // Quantising the gallery costs about as much as scoring 50 queries.
  const bool wanted = options.filter == "int8" || (options.filter == "auto" && n >= 96);
  std::unique_ptr<Int8Gallery> packed;
  if (wanted && Int8Gallery::supported(input.queries.width))
    packed = std::make_unique<Int8Gallery>(input.gallery_rows, input.query_rows.mean(0));
  std::mutex mutex;
  at::parallel_for(0, input.blocks, 1, [&](int64_t begin, int64_t end) {
    std::optional<Int8Queries> scanner;
    if (packed) scanner.emplace(*packed);
    for (int64_t b = begin; b < end; ++b) {
      Block block(input, b * input.block_rows, k);
      block.scan_float(packed ? block.scan_int8(*scanner, packed->panels()) : 0);
      block.write(result.indices.data_ptr<int64_t>(), result.scores.data_ptr<float>(), k);
      const std::lock_guard<std::mutex> lock(mutex);
      result.stats.rescored += block.stats.rescored;
      result.stats.int8_pairs += block.stats.int8_pairs;
    }
  });
  result.stats.pairs = n * m;
  result.stats.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace parapet

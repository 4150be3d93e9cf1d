// Samples of tar shards, decoded on all cores while the stream stays in order.
#pragma once
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "parapet/core/error.h"
#include "parapet/core/threads.h"
#include "parapet/data/captions.h"
#include "parapet/data/shard_stream.h"

namespace parapet {

// Reasons of bad samples, each sample once, also over resumptions of a run.
class ShardQuarantine {
 public:
  // Goes on with `file` where it exists. `counts` outlives this.
  ShardQuarantine(std::string file, SampleCounts& counts);
  void add(const std::string& place, const DataError& error);

 private:
  std::string file_;
  SampleCounts& counts_;
  std::mutex mutex_;
  std::set<std::string> known_;
};

// Batches of `size` usable samples. A bad one stops the stream, or goes to `quarantine` (null =
// stop) and the next takes its place. Batches are shorter only at the end of a stream that has one.
template <class Out>
class ShardLoader final : public Source<std::vector<Out>> {
 public:
  // `load` is called on several threads at once and throws DataError for a bad sample.
  ShardLoader(SourcePtr<StreamedSample> samples, int64_t size,
              std::function<Out(const StreamedSample&)> load, ShardQuarantine* quarantine,
              SampleCounts& counts)
      : samples_(std::move(samples)),
        size_(size),
        load_(std::move(load)),
        quarantine_(quarantine),
        counts_(counts) {}

  bool next(std::vector<Out>& value) override {
    std::vector<Out> rows;
    while (static_cast<int64_t>(rows.size()) < size_ && load_more(rows)) {
    }
    if (rows.empty()) return false;
    counts_.loaded += static_cast<int64_t>(rows.size());
    value = std::move(rows);
    return true;
  }
  nlohmann::json position() const override { return samples_->position(); }
  void restore(const nlohmann::json& position) override {
    samples_->restore(position);
    last_good_epoch_ = position.value("epoch", int64_t{0});
  }

 private:
  // As many samples as `rows` lacks, good or bad; false at the end of the stream.
  bool load_more(std::vector<Out>& rows) {
    std::vector<StreamedSample> drawn;
    StreamedSample sample;
    while (static_cast<int64_t>(rows.size() + drawn.size()) < size_ && samples_->next(sample))
      drawn.push_back(std::move(sample));
    std::vector<std::optional<Out>> loaded(drawn.size());
    std::vector<std::optional<DataError>> bad(drawn.size());
    parallel_items(static_cast<int64_t>(drawn.size()), 0, [&](int64_t i) {
      const auto k = static_cast<size_t>(i);
      try {
        loaded[k] = load_(drawn[k]);
      } catch (const DataError& error) {
        bad[k] = error;
      }
    });
    for (size_t i = 0; i < drawn.size(); ++i) {
      if (bad[i]) {
        leave_out(drawn[i], *bad[i]);
      } else {
        last_good_epoch_ = drawn[i].epoch;
        rows.push_back(std::move(*loaded[i]));
      }
    }
    return !drawn.empty();
  }

  void leave_out(const StreamedSample& sample, const DataError& error) {
    if (quarantine_ == nullptr) throw error;
    quarantine_->add(sample.place(), error);
    if (sample.epoch > last_good_epoch_ + 1)
      throw DataError(sample.shard, "and the shards beside it hold no usable sample",
                      "The reasons are in the run's quarantine-train.jsonl.");
  }

  SourcePtr<StreamedSample> samples_;
  int64_t size_;
  std::function<Out(const StreamedSample&)> load_;
  ShardQuarantine* quarantine_;
  SampleCounts& counts_;
  int64_t last_good_epoch_ = 0;
};

// The samples of `shards` in order, at most `count`, as bytes.
std::vector<StreamedSample> first_samples(const std::vector<std::string>& shards, int64_t count);
// Those of `samples` in [begin, end) that load; others go to `quarantine` (null = stop).
template <class Out>
std::vector<Out> load_samples(const std::vector<StreamedSample>& samples, int64_t begin,
                              int64_t end, const std::function<Out(const StreamedSample&)>& load,
                              ShardQuarantine* quarantine) {
  std::vector<Out> rows;
  std::vector<std::optional<Out>> loaded(static_cast<size_t>(end - begin));
  parallel_items(end - begin, 0, [&](int64_t i) {
    const StreamedSample& sample = samples[static_cast<size_t>(begin + i)];
    try {
      loaded[static_cast<size_t>(i)] = load(sample);
    } catch (const DataError& error) {
      if (quarantine == nullptr) throw;
      quarantine->add(sample.place(), error);
    }
  });
  for (auto& row : loaded)
    if (row) rows.push_back(std::move(*row));
  return rows;
}

}  // namespace parapet

#include "parapet/data/shard_loader.h"

#include <filesystem>

#include "parapet/formats/jsonl.h"

namespace parapet {

ShardQuarantine::ShardQuarantine(std::string file, SampleCounts& counts)
    : file_(std::move(file)), counts_(counts) {
  if (!std::filesystem::exists(file_)) return;
  read_jsonl(file_, [&](const nlohmann::json& row, const std::string&) {
    if (row.contains("id") && row["id"].is_string()) known_.insert(row["id"].get<std::string>());
  });
  counts_.skipped += static_cast<int64_t>(known_.size());
}

void ShardQuarantine::add(const std::string& place, const DataError& error) {
  std::lock_guard lock(mutex_);
  if (!known_.insert(place).second) return;
  ++counts_.skipped;
  JsonlAppender(file_).append({{"id", place}, {"reason", error.what()}});
}

std::vector<StreamedSample> first_samples(const std::vector<std::string>& shards, int64_t count) {
  std::vector<StreamedSample> samples;
  if (shards.empty()) return samples;
  ShardStreamOptions options;
  options.shuffle = false;
  options.epochs = 1;
  const auto stream = shard_stream(shards, options);
  for (StreamedSample sample; static_cast<int64_t>(samples.size()) < count && stream->next(sample);)
    samples.push_back(std::move(sample));
  return samples;
}

}  // namespace parapet

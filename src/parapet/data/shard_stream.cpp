#include "parapet/data/shard_stream.h"

#include <algorithm>
#include <filesystem>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/data/records.h"
#include "parapet/data/sources/order.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kSource = "shard stream position";

int64_t bytes_of(const ShardSample& sample) {
  int64_t bytes = 0;
  for (const auto& [extension, part] : sample.parts) bytes += static_cast<int64_t>(part.size());
  return bytes;
}

class ShardStream final : public Source<StreamedSample> {
 public:
  ShardStream(std::vector<std::string> shards, const ShardStreamOptions& options)
      : shards_(std::move(shards)), options_(options), random_(draws(0)) {
    if (shards_.empty()) throw UsageError("there are no shards to stream");
    if (options_.parts < 1 || options_.part < 0 || options_.part >= options_.parts)
      throw UsageError("part must be in 0..parts-1");
    if (static_cast<int64_t>(shards_.size()) < options_.parts)
      throw UsageError(std::to_string(shards_.size()) + " shards cannot be split over " +
                       std::to_string(options_.parts) + " processes; give at least one to each");
    if (options_.buffer < 1) throw UsageError("the shuffle buffer must hold at least one sample");
    begin_epoch(0);
  }

  bool next(StreamedSample& value) override {
    if (options_.epochs == 0) return false;
    fill();
    while (buffer_.empty()) {
      if (!any_) throw DataError(shards_.front(), "and the shards beside it hold no samples");
      if (options_.epochs >= 0 && epoch_ + 1 >= options_.epochs) return false;
      begin_epoch(epoch_ + 1);
      fill();
    }
    const size_t chosen = options_.shuffle ? random_.below(buffer_.size()) : 0;
    Entry& entry = buffer_[chosen];
    value.sample = std::move(entry.sample);
    value.shard = shards_[static_cast<size_t>(entry.shard)];
    value.epoch = epoch_;
    bytes_ -= entry.bytes;
    if (chosen + 1 != buffer_.size()) entry = std::move(buffer_.back());
    buffer_.pop_back();
    return true;
  }

  nlohmann::json position() const override {
    std::vector<int64_t> buffered, random;
    for (const Entry& entry : buffer_) buffered.insert(buffered.end(), {entry.shard, entry.index});
    for (const uint64_t word : random_.state()) random.push_back(static_cast<int64_t>(word));
    return {{"shards", shards_.size()},
            {"seed", options_.seed},
            {"parts", options_.parts},
            {"epoch", epoch_},
            {"at", at_},
            {"read", read_},
            {"any", any_},
            {"random", random},
            {"buffer", buffered}};
  }

  void restore(const nlohmann::json& position) override {
    if (field(position, "shards") != static_cast<int64_t>(shards_.size()) ||
        field(position, "parts") != options_.parts ||
        position.value("seed", uint64_t{0}) != options_.seed)
      throw DataError(kSource, "was saved over other shards, processes or another seed",
                      "Resume with the data and the number of processes of the run's start.");
    begin_epoch(field(position, "epoch"));
    restore_buffer(json_field<std::vector<int64_t>>(position, "buffer", kSource));
    any_ = json_field<bool>(position, "any", kSource);
    restore_random(json_field<std::vector<int64_t>>(position, "random", kSource));
    at_ = field(position, "at");
    const int64_t read = field(position, "read");
    if (at_ + (read > 0 ? 1 : 0) > static_cast<int64_t>(own_.size()))
      throw DataError(kSource, "field 'at' is beyond the last shard");
    ShardSample skipped;
    while (read_ < read)
      if (!read_one(skipped)) throw DataError(kSource, "a shard has become shorter");
  }

 private:
  struct Entry {
    ShardSample sample;
    int64_t shard = 0, index = 0, bytes = 0;
  };

  void restore_random(const std::vector<int64_t>& words) {
    Random::State state{};
    if (words.size() != state.size() || words == std::vector<int64_t>(state.size(), 0))
      throw DataError(kSource, "field 'random' is no generator's state");
    std::copy(words.begin(), words.end(), state.begin());
    random_.restore(state);
  }

  static int64_t field(const nlohmann::json& position, std::string_view name) {
    const auto value = json_field<int64_t>(position, name, kSource);
    if (value < 0) throw DataError(kSource, "field '" + std::string(name) + "' is negative");
    return value;
  }

  Random draws(int64_t epoch) const {
    return Random::named(options_.seed, "shards.buffer." + std::to_string(options_.part) + "." +
                                            std::to_string(epoch));
  }

  void begin_epoch(int64_t epoch) {
    epoch_ = epoch;
    at_ = read_ = bytes_ = 0;
    any_ = false;
    reader_.reset();
    buffer_.clear();
    random_ = draws(epoch);
    std::vector<int64_t> order;
    const auto count = static_cast<int64_t>(shards_.size());
    if (options_.shuffle)
      order = shuffled_order(count,
                             Random::named(options_.seed, "shards.epoch." + std::to_string(epoch)));
    else
      for (int64_t i = 0; i < count; ++i) order.push_back(i);
    own_.clear();
    for (int64_t i = options_.part; i < count; i += options_.parts)
      own_.push_back(order[static_cast<size_t>(i)]);
  }

  // The next sample of the open shard; false at its end.
  bool read_one(ShardSample& sample) {
    if (!reader_)
      reader_ = std::make_unique<ShardReader>(
          shards_[static_cast<size_t>(own_[static_cast<size_t>(at_)])]);
    if (!reader_->next(sample)) return false;
    ++read_;
    return true;
  }

  void fill() {
    const int64_t wanted = options_.shuffle ? options_.buffer : 1;
    while (at_ < static_cast<int64_t>(own_.size()) &&
           static_cast<int64_t>(buffer_.size()) < wanted &&
           (buffer_.empty() || bytes_ < options_.buffer_bytes)) {
      Entry entry;
      if (!read_one(entry.sample)) {
        reader_.reset();
        read_ = 0;
        ++at_;
        continue;
      }
      any_ = true;
      entry.shard = own_[static_cast<size_t>(at_)];
      entry.index = read_ - 1;
      entry.bytes = bytes_of(entry.sample);
      bytes_ += entry.bytes;
      buffer_.push_back(std::move(entry));
    }
  }

  // Reads the shards that buffered samples lie in once more, each from its start.
  void restore_buffer(const std::vector<int64_t>& places) {
    std::map<int64_t, std::map<int64_t, size_t>> by_shard;  // shard -> index -> slot
    for (size_t slot = 0; 2 * slot + 1 < places.size(); ++slot) {
      const int64_t shard = places[2 * slot], index = places[2 * slot + 1];
      if (shard < 0 || shard >= static_cast<int64_t>(shards_.size()) || index < 0)
        throw DataError(kSource, "a buffered sample lies in no shard");
      by_shard[shard][index] = slot;
    }
    buffer_.resize(places.size() / 2);
    for (const auto& [shard, slots] : by_shard) {
      ShardReader reader(shards_[static_cast<size_t>(shard)]);
      ShardSample sample;
      for (int64_t index = 0; index <= slots.rbegin()->first; ++index) {
        if (!reader.next(sample)) throw DataError(kSource, "a shard has become shorter");
        const auto slot = slots.find(index);
        if (slot == slots.end()) continue;
        const int64_t bytes = bytes_of(sample);
        bytes_ += bytes;
        buffer_[slot->second] = {std::move(sample), shard, index, bytes};
      }
    }
  }

  std::vector<std::string> shards_;
  ShardStreamOptions options_;
  Random random_;
  int64_t epoch_ = 0;
  std::vector<int64_t> own_;  // this part's shards in this epoch's order
  int64_t at_ = 0;            // the open one
  int64_t read_ = 0;          // samples read from it
  bool any_ = false;          // the epoch has had a sample
  std::unique_ptr<ShardReader> reader_;
  std::vector<Entry> buffer_;
  int64_t bytes_ = 0;
};

bool is_shard_name(const std::string& name) {
  const std::string lower = to_lower_ascii(name);
  for (const char* ending : {".tar", ".tar.gz", ".tgz", ".tar.zst"})
    if (lower.ends_with(ending)) return true;
  return false;
}

std::vector<std::string> shards_of_folder(const fs::path& folder) {
  std::vector<std::string> shards;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() && is_shard_name(entry.path().filename().string()))
      shards.push_back(entry.path().string());
  std::sort(shards.begin(), shards.end());
  return shards;
}

}  // namespace

SourcePtr<StreamedSample> shard_stream(std::vector<std::string> shards,
                                       const ShardStreamOptions& options) {
  return std::make_unique<ShardStream>(std::move(shards), options);
}

bool names_shards(const std::string& value) {
  if (!fs::is_directory(value)) return is_shard_name(value);
  for (const std::string_view file : {kCaptionFile, kQuadrupletFile, kLabelFile})
    if (fs::exists(fs::path(value) / file)) return false;
  return !shards_of_folder(value).empty();
}

std::vector<std::string> list_shards(const std::string& value) {
  if (fs::is_directory(value)) return shards_of_folder(value);
  std::vector<std::string> shards = expand_braces(value);
  for (const auto& shard : shards)
    if (!fs::is_regular_file(shard)) throw DataError(shard, "no such shard", "Check the path.");
  return shards;
}

}  // namespace parapet

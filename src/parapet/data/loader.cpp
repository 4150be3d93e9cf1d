#include "parapet/data/loader.h"

#include <numeric>

#include "parapet/core/json.h"

namespace parapet {
namespace {

constexpr std::string_view kSource = "data loader position";

int64_t position_field(const nlohmann::json& position, std::string_view field, int64_t high) {
  if (!position.is_object()) throw DataError(kSource, "must be an object");
  const auto value = json_field<int64_t>(position, field, kSource);
  if (value < 0 || value > high)
    throw DataError(kSource,
                    "field '" + std::string(field) + "' is " + std::to_string(value) +
                        ", but this source ends at " + std::to_string(high),
                    "Resume with the data set that the run was started with.");
  return value;
}

void check_count(const nlohmann::json& position, int64_t count) {
  if (!position.is_object() || json_field<int64_t>(position, "count", kSource) != count)
    throw DataError(kSource, "was saved over a data set of another size",
                    "Resume with the data set that the run was started with.");
}

class Indices final : public Source<int64_t> {
 public:
  explicit Indices(int64_t count) : count_(count) {}
  bool next(int64_t& value) override {
    if (at_ >= count_) return false;
    value = at_++;
    return true;
  }
  nlohmann::json position() const override { return {{"count", count_}, {"at", at_}}; }
  void restore(const nlohmann::json& position) override {
    check_count(position, count_);
    at_ = position_field(position, "at", count_);
  }

 private:
  int64_t count_;
  int64_t at_ = 0;
};

class ShuffledIndices final : public Source<int64_t> {
 public:
  ShuffledIndices(int64_t count, uint64_t seed, int64_t epochs)
      : count_(count), seed_(seed), epochs_(epochs) {
    if (count < 1) throw UsageError("cannot shuffle an empty data set");
    arrange();
  }

  bool next(int64_t& value) override {
    if (at_ == count_ && (epochs_ < 0 || epoch_ + 1 < epochs_)) {
      ++epoch_;
      at_ = 0;
      arrange();
    }
    if (at_ == count_ || epochs_ == 0) return false;
    value = order_[static_cast<size_t>(at_++)];
    return true;
  }

  nlohmann::json position() const override {
    return {{"count", count_}, {"seed", seed_}, {"epoch", epoch_}, {"at", at_}};
  }

  void restore(const nlohmann::json& position) override {
    check_count(position, count_);
    if (!position.contains("seed") || position["seed"] != seed_)
      throw DataError(kSource, "was saved with another seed");
    epoch_ = position_field(position, "epoch", INT64_MAX);
    at_ = position_field(position, "at", count_);
    arrange();
  }

 private:
  void arrange() { order_ = shuffled_order(count_, Random(seed_, static_cast<uint64_t>(epoch_))); }

  int64_t count_;
  uint64_t seed_;
  int64_t epochs_;
  int64_t epoch_ = 0;
  int64_t at_ = 0;
  std::vector<int64_t> order_;
};

class Strided final : public Source<int64_t> {
 public:
  Strided(SourcePtr<int64_t> source, int64_t part, int64_t parts)
      : source_(std::move(source)), part_(part), parts_(parts) {
    if (parts < 1 || part < 0 || part >= parts) throw UsageError("part must be in 0..parts-1");
  }

  // Reads whole rounds, so that every process sees the same number of values.
  bool next(int64_t& value) override {
    int64_t own = 0;
    for (int64_t i = 0; i < parts_; ++i) {
      int64_t item;
      if (!source_->next(item)) return false;
      if (i == part_) own = item;
    }
    value = own;
    return true;
  }
  nlohmann::json position() const override { return source_->position(); }
  void restore(const nlohmann::json& position) override { source_->restore(position); }

 private:
  SourcePtr<int64_t> source_;
  int64_t part_, parts_;
};

}  // namespace

std::vector<int64_t> shuffled_order(int64_t count, Random random) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), int64_t{0});
  random.shuffle(order);
  return order;
}

std::vector<int64_t> epoch_rows(int64_t count, int64_t first, int64_t length, uint64_t seed,
                                std::string_view purpose) {
  if (count < 1) throw UsageError("cannot shuffle an empty data set");
  std::vector<int64_t> rows, order;
  rows.reserve(static_cast<size_t>(length));
  int64_t epoch = -1;
  for (int64_t k = first; k < first + length; ++k) {
    if (k / count != epoch) {
      epoch = k / count;
      order = shuffled_order(
          count, Random::named(seed, std::string(purpose) + ".epoch." + std::to_string(epoch)));
    }
    rows.push_back(order[static_cast<size_t>(k % count)]);
  }
  return rows;
}

SourcePtr<int64_t> indices(int64_t count) { return std::make_unique<Indices>(count); }

SourcePtr<int64_t> shuffled_indices(int64_t count, uint64_t seed, int64_t epochs) {
  return std::make_unique<ShuffledIndices>(count, seed, epochs);
}

SourcePtr<int64_t> strided(SourcePtr<int64_t> source, int64_t part, int64_t parts) {
  return std::make_unique<Strided>(std::move(source), part, parts);
}

}  // namespace parapet

#include "parapet/data/sources/order.h"

#include <numeric>
#include <string>

#include "parapet/core/error.h"
#include "parapet/core/json.h"

namespace parapet {
namespace {

constexpr std::string_view kSource = "data position";
constexpr std::string_view kSameData = "Resume with the data set that the run was started with.";

int64_t position_field(const nlohmann::json& position, std::string_view field, int64_t high) {
  if (!position.is_object()) throw DataError(kSource, "must be an object");
  const auto value = json_field<int64_t>(position, field, kSource);
  if (value < 0 || value > high)
    throw DataError(kSource,
                    "field '" + std::string(field) + "' is " + std::to_string(value) +
                        ", but this source ends at " + std::to_string(high),
                    std::string(kSameData));
  return value;
}

void check_count(const nlohmann::json& position, int64_t count) {
  if (!position.is_object() || json_field<int64_t>(position, "count", kSource) != count)
    throw DataError(kSource, "was saved over a data set of another size", std::string(kSameData));
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

class NumbersFrom final : public Source<int64_t> {
 public:
  explicit NumbersFrom(int64_t first) : first_(first), at_(first) {}
  bool next(int64_t& value) override {
    value = at_++;
    return true;
  }
  nlohmann::json position() const override { return {{"first", first_}, {"at", at_}}; }
  void restore(const nlohmann::json& position) override {
    if (position_field(position, "first", INT64_MAX) != first_)
      throw DataError(kSource, "was saved over other samples", std::string(kSameData));
    at_ = position_field(position, "at", INT64_MAX);
  }

 private:
  int64_t first_, at_;
};

class ShuffledDraws final : public Source<Draw> {
 public:
  ShuffledDraws(int64_t count, uint64_t seed, std::string_view purpose, int64_t epochs)
      : count_(count), seed_(seed), purpose_(purpose), epochs_(epochs) {
    if (count < 1) throw UsageError("cannot shuffle an empty data set");
  }

  bool next(Draw& value) override {
    if (epochs_ >= 0 && epoch_ >= epochs_) return false;
    if (order_.empty()) arrange();
    value = {order_[static_cast<size_t>(at_)], epoch_ * count_ + at_};
    if (++at_ == count_) {
      ++epoch_;
      at_ = 0;
      order_.clear();
    }
    return true;
  }

  nlohmann::json position() const override {
    return {{"count", count_}, {"seed", seed_}, {"epoch", epoch_}, {"at", at_}};
  }

  void restore(const nlohmann::json& position) override {
    check_count(position, count_);
    if (!position.contains("seed") || position["seed"] != seed_)
      throw DataError(kSource, "was saved with another seed", "Resume with the run's own --seed.");
    epoch_ = position_field(position, "epoch", INT64_MAX / count_);
    at_ = position_field(position, "at", count_ - 1);
    order_.clear();
  }

 private:
  void arrange() {
    order_ =
        shuffled_order(count_, Random::named(seed_, purpose_ + ".epoch." + std::to_string(epoch_)));
  }

  int64_t count_;
  uint64_t seed_;
  std::string purpose_;
  int64_t epochs_;
  int64_t epoch_ = 0;
  int64_t at_ = 0;
  std::vector<int64_t> order_;  // of this epoch; empty until its first draw
};

}  // namespace

std::vector<int64_t> shuffled_order(int64_t count, Random random) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), int64_t{0});
  random.shuffle(order);
  return order;
}

SourcePtr<int64_t> indices(int64_t count) { return std::make_unique<Indices>(count); }

SourcePtr<int64_t> numbers_from(int64_t first) { return std::make_unique<NumbersFrom>(first); }

SourcePtr<Draw> shuffled_draws(int64_t count, uint64_t seed, std::string_view purpose,
                               int64_t epochs) {
  return std::make_unique<ShuffledDraws>(count, seed, purpose, epochs);
}

}  // namespace parapet

// A small contrastive task on plain tensors: two linear towers over noisy views of the same vector.
#pragma once
#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "parapet/core/random.h"
#include "parapet/training/sharding.h"
#include "parapet/training/task.h"

namespace parapet::test {

struct ToyOptions {
  uint64_t seed = 1;
  int64_t batch = 8;    // rows per rank and micro-batch
  double dropout = 0;   // draws from torch's generator
  int64_t nan_at = -1;  // optimiser step whose loss is NaN
};

// One micro-batch: every rank draws all ranks' rows and keeps its own.
struct ToyBatch {
  at::Tensor x, noise;
};

class ToySource final : public Source<ToyBatch> {
 public:
  ToySource(uint64_t seed, int64_t rows, int64_t columns)
      : stream_(Random::named(seed, "toy.data")), rows_(rows), columns_(columns) {}
  bool next(ToyBatch& batch) override {
    batch.x = draw(stream_, rows_, columns_);
    batch.noise = draw(stream_, rows_, columns_).mul_(0.1);
    return true;
  }
  nlohmann::json position() const override { return {{"stream", stream_.state()}}; }
  void restore(const nlohmann::json& position) override {
    stream_.restore(position.at("stream").get<Random::State>());
  }
  static at::Tensor draw(Random& random, int64_t rows, int64_t columns) {
    at::Tensor values = at::empty({rows, columns}, at::kFloat);
    for (int64_t i = 0; i < values.numel(); ++i)
      values.data_ptr<float>()[i] = static_cast<float>(random.normal());
    return values;
  }

 private:
  Random stream_;
  int64_t rows_, columns_;
};

class ToyTask : public TaskOf<ToyBatch> {
 public:
  static constexpr int64_t kIn = 12, kOut = 8;

  explicit ToyTask(const ToyOptions& options) : options_(options) {
    Random init = Random::named(options.seed, "toy.init");
    left_ = draw(init, kIn, kOut).mul_(0.3).set_requires_grad(true);
    right_ = draw(init, kIn, kOut).mul_(0.3).set_requires_grad(true);
    scale_ = at::full({}, 1.5, at::kFloat).set_requires_grad(true);
    steps_seen_ = at::zeros({}, at::kLong);
  }

  std::vector<TrainableParameter> parameters() override {
    return {{"left.weight", left_, 1.0, true},
            {"right.weight", right_, 0.5, true},
            {"logit_scale", scale_, 1.0, false}};
  }

  SourcePtr<ToyBatch> batches(const Communicator& world) override {
    return std::make_unique<ToySource>(options_.seed, options_.batch * world.world_size(), kIn);
  }

  StepLoss loss(ToyBatch& batch, const StepInfo& info) override {
    Communicator& world = *info.communicator;
    const auto& [x, noise] = batch;
    const int64_t first = options_.batch * world.rank();
    at::Tensor a = x.narrow(0, first, options_.batch);
    const at::Tensor b = (x + noise).narrow(0, first, options_.batch);
    if (options_.dropout > 0) a = at::dropout(a, options_.dropout, true);
    StepLoss result;
    result.total =
        contrast(world.gather(at::matmul(a, left_)), world.gather(at::matmul(b, right_)));
    if (info.step == options_.nan_at)
      result.total = result.total * std::numeric_limits<float>::quiet_NaN();
    result.terms = {{"contrast", result.total.detach()}, {"scale", scale_.detach().clone()}};
    result.samples = options_.batch;
    return result;
  }

  void after_step(const StepInfo&) override {
    const at::NoGradGuard no_grad;
    scale_.clamp_(0.0, 3.0);
    steps_seen_.add_(1);
  }

  // Each rank computes whole chunks of 8 of the 32 rows.
  std::map<std::string, double> validate(const StepInfo& info) override {
    const at::NoGradGuard no_grad;
    Random fixed = Random::named(options_.seed, "toy.validation");
    const at::Tensor x = draw(fixed, 32, kIn);
    const RowRange own = own_share(32, 8, *info.communicator);
    std::vector<at::Tensor> lefts = {at::empty({0, kOut})}, rights = {at::empty({0, kOut})};
    for (int64_t row = own.begin; row < own.end; row += 8) {
      lefts.push_back(at::matmul(x.slice(0, row, row + 8), left_));
      rights.push_back(at::matmul(x.slice(0, row, row + 8), right_));
    }
    const at::Tensor left = gather_shares(at::cat(lefts), *info.communicator);
    const at::Tensor right = gather_shares(at::cat(rights), *info.communicator);
    const auto logits = at::matmul(unit(left), unit(right).t());
    const auto hits = logits.argmax(1).eq(at::arange(32)).to(at::kFloat).mean();
    return {{"loss", contrast(left, right).item<double>()}, {"recall", hits.item<double>()}};
  }
  Selection selection() const override { return {"recall", true}; }

  std::vector<std::pair<std::string, at::Tensor>> buffers() override {
    return {{"steps_seen", steps_seen_}};
  }

  int64_t steps_seen() const { return steps_seen_.item<int64_t>(); }
  at::Tensor left() const { return left_.detach(); }

 private:
  static at::Tensor draw(Random& random, int64_t rows, int64_t columns) {
    return ToySource::draw(random, rows, columns);
  }
  static at::Tensor unit(const at::Tensor& x) { return x / x.norm(2, -1, true); }
  at::Tensor contrast(const at::Tensor& a, const at::Tensor& b) const {
    const auto logits = at::matmul(unit(a), unit(b).t()) * scale_.exp();
    const auto target = at::arange(a.size(0));
    return (at::cross_entropy_loss(logits, target) + at::cross_entropy_loss(logits.t(), target)) /
           2;
  }

  ToyOptions options_;
  at::Tensor left_, right_, scale_, steps_seen_;
};

}  // namespace parapet::test

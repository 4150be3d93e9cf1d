// Hardening against PyTorch + transformers + peft: every term of every objective over ten steps,
// gradients of all adapter tensors at the first, adapter weights after the last.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "methods/golden_clip.h"
#include "parapet/core/json.h"
#include "parapet/data/sources/order.h"
#include "parapet/formats/jsonl.h"
#include "parapet/methods/safe_clip/objective.h"
#include "parapet/nn/contrastive.h"
#include "parapet/nn/lora.h"
#include "parapet/nn/lora_off.h"
#include "parapet/training/distributed.h"
#include "parapet/training/trainer.h"

namespace parapet {
namespace {

using test::goldens;
using test::tensors_of;

constexpr double kTolerance = 1e-4;

std::filesystem::path folder() { return goldens() / "safe_clip"; }

double scale_of(const at::Tensor& x) { return std::max(1.0, x.abs().max().item<double>()); }

QuadrupletEmbeddings embed(const ClipModel& model, const at::Tensor& ids,
                           const at::Tensor& pixels) {
  const auto text = nn::normalise_rows(model.encode_text(ids)).chunk(2);
  const auto image = nn::normalise_rows(model.encode_image(pixels)).chunk(2);
  return {text[0], text[1], image[0], image[1]};
}

// One full batch per step, as the reference implementation trains.
class GoldenTask final : public TaskOf<int64_t> {
 public:
  GoldenTask(ClipModel& model, const std::string& objective, const nlohmann::json& expected)
      : model_(model) {
    ObjectiveOptions options;
    options.name = objective;
    objective_ = make_objective(options);
    const auto inputs = tensors_of(folder() / "inputs.safetensors");
    ids_ = inputs.at("input_ids");
    pixels_ = inputs.at("pixel_values");
    {
      const at::NoGradGuard no_grad;
      const nn::LoraOff off;
      input_.reference = embed(model_, ids_, pixels_);
    }
    input_.logit_scale = model_.logit_scale().value.exp().item<double>();
    auto mask = [&](const char* name) {
      std::vector<int64_t> values;
      for (const bool value : expected.at(name)) values.push_back(value);
      return at::tensor(values, at::kLong).to(at::kBool);
    };
    input_.text_unsafe = mask("text_unsafe");
    input_.image_unsafe = mask("image_unsafe");
    const auto& targets = expected.at("targets");
    auto rows = [&](const char* name) {
      return at::tensor(targets.at(name).get<std::vector<int64_t>>(), at::kLong);
    };
    const auto& r = input_.reference;
    input_.target_text = r.safe_text.index_select(0, rows("text"));
    input_.target_text_image = r.safe_image.index_select(0, rows("text"));
    input_.target_image = r.safe_image.index_select(0, rows("image"));
    input_.target_image_text = r.safe_text.index_select(0, rows("image"));
    input_.difficulty = at::tensor(targets.at("difficulty").get<std::vector<double>>(), at::kFloat);
  }

  std::vector<TrainableParameter> parameters() override {
    std::vector<TrainableParameter> list;
    for (auto& [name, tensor] : nn::lora_parameters(model_))
      list.push_back({name, tensor.requires_grad_(true), 1.0, false});
    return list;
  }
  SourcePtr<int64_t> batches(const Communicator&) override { return numbers_from(0); }
  using TaskOf<int64_t>::loss;
  StepLoss loss(int64_t&, const StepInfo& info) override {
    input_.tuned = embed(model_, ids_, pixels_);
    input_.progress = static_cast<double>(info.step) / static_cast<double>(info.total_steps);
    return objective_->compute(input_);
  }
  std::map<std::string, double> validate(const StepInfo&) override { return {}; }

  const QuadrupletEmbeddings& reference() const { return input_.reference; }

 private:
  ClipModel& model_;
  std::unique_ptr<Objective> objective_;
  at::Tensor ids_, pixels_;
  ObjectiveInput input_;
};

class SafeClipGolden : public ::testing::TestWithParam<std::pair<const char*, const char*>> {
 protected:
  SafeClipGolden() : model_(test::golden_clip()) {
    nn::load_lora(model_, folder() / (std::string("adapter_") + adapter()));
    task_ = std::make_unique<GoldenTask>(model_, objective(), expected_);
  }
  std::string objective() const { return GetParam().first; }
  std::string adapter() const { return GetParam().second; }
  std::string name() const { return objective() + "_" + adapter(); }

  // `found` holds what the golden file has under "<kind>.".
  void expect_all(const std::string& kind, const std::map<std::string, at::Tensor>& found) {
    size_t compared = 0;
    for (const auto& [key, want] : tensors_of(folder() / (name() + ".safetensors"))) {
      if (!key.starts_with(kind + ".")) continue;
      const auto it = found.find(key.substr(kind.size() + 1));
      ASSERT_NE(it, found.end()) << key;
      // peft keeps the adapters of a Conv2d in the convolution's shape.
      const at::Tensor got = it->second.view(want.sizes());
      EXPECT_LE((got - want).abs().max().item<double>(), kTolerance * scale_of(want)) << key;
      if (kind == "grad") {
        EXPECT_GT(want.abs().max().item<double>(), 0) << key << " tests nothing";
      }
      ++compared;
    }
    EXPECT_EQ(compared, found.size());
  }

  nlohmann::json expected_ = load_json(folder() / "expected.json");
  ClipModel model_;
  std::unique_ptr<GoldenTask> task_;
};

TEST_P(SafeClipGolden, ReferenceIsTheUntouchedModel) {
  const auto want = tensors_of(folder() / "reference.safetensors");
  const auto& found = task_->reference();
  for (const auto& [key, tensor] : {std::pair("s", found.safe_text),
                                    {"u", found.unsafe_text},
                                    {"v", found.safe_image},
                                    {"g", found.unsafe_image}})
    EXPECT_LE((tensor - nn::normalise_rows(want.at(key))).abs().max().item<double>(), 1e-5) << key;
}

TEST_P(SafeClipGolden, GradientsOfEveryAdapterTensor) {
  const auto parameters = task_->parameters();
  StepInfo info;
  info.total_steps = expected_.at("steps");
  int64_t number = 0;
  task_->loss(number, info).total.backward();
  std::map<std::string, at::Tensor> gradients;
  for (const auto& p : parameters) gradients[p.name] = p.tensor.grad();
  expect_all("grad", gradients);
}

TEST_P(SafeClipGolden, TenSteps) {
  TrainerOptions options;
  options.max_steps = expected_.at("steps");
  options.lr = expected_.at("lr");
  options.optimizer = "adam";
  options.beta2 = 0.999;
  options.schedule = "constant";
  options.clip_norm = 0;
  options.log_every = 1;
  const test::TempFolder run;
  train(*task_, options, run.path(), *make_communicator({}, "cpu"), {});

  const auto& history = expected_.at("cases").at(name());
  size_t steps = 0;
  read_jsonl(run / "metrics.jsonl", [&](const nlohmann::json& line, const std::string& place) {
    const auto& want = history.at(steps++);
    const auto& terms = line.at("terms");
    EXPECT_EQ(terms.size() + 1, want.size()) << place;
    EXPECT_NEAR(line.at("loss").get<double>(), want.at("loss").get<double>(), kTolerance) << place;
    for (const auto& [term, value] : terms.items())
      EXPECT_NEAR(value.get<double>(), want.at(term).get<double>(), kTolerance)
          << place << " " << term;
  });
  EXPECT_EQ(steps, 10u);
  // Ten steps of 1e-3 move a weight by up to 1e-2; Adam divides tiny gradients by their own size,
  // which magnifies rounding, still within the tolerance.
  std::map<std::string, at::Tensor> weights;
  for (const auto& p : task_->parameters()) weights[p.name] = p.tensor.detach();
  expect_all("final", weights);
}

INSTANTIATE_TEST_SUITE_P(
    Objectives, SafeClipGolden,
    ::testing::Values(std::pair("safe_clip", "published"), std::pair("safe_clip", "wide"),
                      std::pair("ordered", "wide"), std::pair("safer_clip", "wide"),
                      std::pair("shield_clip", "published")),
    [](const auto& info) { return std::string(info.param.first) + "_" + info.param.second; });

}  // namespace
}  // namespace parapet

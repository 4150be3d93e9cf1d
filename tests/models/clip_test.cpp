// CLIP against goldens of `transformers`.
#include "parapet/models/clip/clip.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "models/clip_fixture.h"
#include "parapet/core/json.h"

namespace parapet {
namespace {

constexpr double kClose = 1e-5;

class Variants : public GoldenClip, public ::testing::WithParamInterface<const char*> {};

TEST_P(Variants, ForwardEqualsTransformers) {
  const ClipModel model = load(GetParam());
  auto expected = golden_tensors(std::string("expected_") + GetParam() + ".safetensors");
  const ClipHidden text = model.text_model().hidden(ids_, at::kFloat);
  const ClipHidden image = model.vision_model().hidden(pixels_);
  EXPECT_LT(apart(model.encode_text(ids_), expected.at("text.embeds")), kClose);
  EXPECT_LT(apart(model.encode_image(pixels_), expected.at("image.embeds")), kClose);
  ASSERT_EQ(text.hidden_states.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const std::string index = std::to_string(i);
    EXPECT_LT(apart(text.hidden_states[i], expected.at("text.hidden_states." + index)), kClose);
    EXPECT_LT(apart(image.hidden_states[i], expected.at("image.hidden_states." + index)), kClose);
  }
  EXPECT_LT(apart(text.last_hidden_state, expected.at("text.last_hidden_state")), kClose);
  EXPECT_LT(apart(image.last_hidden_state, expected.at("image.last_hidden_state")), kClose);
  EXPECT_LT(apart(text.pooler_output, expected.at("text.pooler_output")), kClose);
  EXPECT_LT(apart(image.pooler_output, expected.at("image.pooler_output")), kClose);
}

TEST_P(Variants, GradientsEqualTransformers) {
  ClipModel model = load(GetParam());
  auto expected = golden_tensors(std::string("expected_") + GetParam() + ".safetensors");
  const auto parameters = nn::named_parameters(model);
  for (const auto& [name, tensor] : parameters) tensor.requires_grad_(true);
  pixels_.requires_grad_(true);
  const at::Tensor loss = golden_loss(model, ids_, pixels_);
  loss.backward();
  EXPECT_LT(apart(loss.detach(), expected.at("loss")), kClose);
  EXPECT_LT(apart(pixels_.grad(), expected.at("grad.pixel_values")), kClose);
  int compared = 0;
  for (const auto& [name, tensor] : parameters) {
    const auto it = expected.find("grad." + name);
    if (it == expected.end()) continue;
    ++compared;
    EXPECT_GT(it->second.norm().item<double>(), 1e-4) << name;  // a real gradient
    // Gradients differ in size by a factor of 100: what counts is the share of the largest entry.
    const double scale = it->second.abs().max().item<double>();
    EXPECT_LT(apart(tensor.grad(), it->second) / scale, kClose) << name;
  }
  EXPECT_EQ(compared, 11);
}

TEST_P(Variants, RecomputationChangesNoBit) {
  const auto gradients = [&](bool again) {
    ClipModel model = load(GetParam());
    model.set_recompute(again);
    const auto parameters = nn::named_parameters(model);
    for (const auto& [name, tensor] : parameters) tensor.requires_grad_(true);
    const at::Tensor pixels = pixels_.clone().requires_grad_(true);
    golden_loss(model, ids_, pixels).backward();
    nn::TensorDict found = {{"pixels", pixels.grad()}};
    for (const auto& [name, tensor] : parameters) found[name] = tensor.grad();
    return found;
  };
  const nn::TensorDict plain = gradients(false), again = gradients(true);
  for (const auto& [name, gradient] : plain) {
    ASSERT_EQ(gradient.defined(), again.at(name).defined()) << name;
    if (gradient.defined()) EXPECT_TRUE(at::equal(again.at(name), gradient)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Clip, Variants, ::testing::Values("new", "legacy"),
                         [](const auto& test) { return std::string(test.param); });

TEST_F(GoldenClip, ColumnsBeyondTheLastPooledRowChangeNothing) {
  const ClipModel model = load();
  const at::Tensor row = ids_.slice(0, 1, 2);
  const int64_t end = model.text_model().pooled_rows(row).item<int64_t>();
  ASSERT_LT(end + 1, row.size(1));
  const at::Tensor cut = row.slice(1, 0, end + 1);
  EXPECT_LT(apart(model.encode_text(cut), model.encode_text(row)), 1e-6);
}

TEST_F(GoldenClip, PooledRowsFollowTheirRule) {
  EXPECT_TRUE(
      at::equal(load("new").text_model().pooled_rows(ids_), at::tensor({11, 8, 9}, at::kLong)));
  EXPECT_TRUE(
      at::equal(load("legacy").text_model().pooled_rows(ids_), at::tensor({9, 8, 9}, at::kLong)));
}

TEST_F(GoldenClip, BFloat16ComputeStaysClose) {
  for (const at::ScalarType kept : {at::kFloat, at::kBFloat16}) {
    ClipModel model = load("new", kept);
    model.set_compute(at::kBFloat16);
    const auto expected = golden_tensors("expected_new.safetensors");
    const at::Tensor text = model.encode_text(ids_), image = model.encode_image(pixels_);
    EXPECT_EQ(text.scalar_type(), at::kBFloat16);
    const auto cosine = [](const at::Tensor& a, const at::Tensor& b) {
      return at::cosine_similarity(a.to(at::kFloat), b, 1).min().item<double>();
    };
    EXPECT_GT(cosine(text, expected.at("text.embeds")), 0.999);
    EXPECT_GT(cosine(image, expected.at("image.embeds")), 0.999);
  }
}

TEST_F(GoldenClip, FrozenWeightsOfAnotherTypePassGradientsToThePixels) {
  ClipModel model = load("new", at::kBFloat16);  // bf16 weights, fp32 compute: converted per call
  pixels_.requires_grad_(true);
  model.encode_image(pixels_).sum().backward();
  const at::Tensor converted = pixels_.grad().clone();
  pixels_.mutable_grad() = at::Tensor();
  ClipModel plain = load("new", at::kBFloat16);
  nn::each_parameter(plain, [](const std::string&, nn::Parameter& parameter) {
    parameter.value = parameter.value.to(at::kFloat);
  });
  plain.encode_image(pixels_).sum().backward();
  EXPECT_LT(apart(converted, pixels_.grad()), 1e-5);
}

// Gradient checkpointing changes nothing but memory: whole weights, and adapters with dropout.
TEST_F(GoldenClip, RecomputedLayersGiveTheSameGradients) {
  for (const bool adapters : {false, true}) {
    auto gradients = [&](bool recompute) {
      ClipModel model = load();
      if (adapters) {
        nn::LoraOptions lora = with_targets({}, model);
        lora.dropout = 0.3;
        nn::add_lora(model, lora, 1);
        const at::NoGradGuard no_grad;
        for (const auto& [name, tensor] : nn::lora_parameters(model)) tensor.add_(0.01);
      } else {
        nn::set_requires_grad(model, true);
      }
      model.set_training(true);
      model.set_recompute(recompute);
      at::manual_seed(5);
      golden_loss(model, ids_, pixels_).backward();
      return adapters ? nn::lora_parameters(model) : nn::named_parameters(model);
    };
    const nn::NamedTensors plain = gradients(false), again = gradients(true);
    ASSERT_EQ(plain.size(), again.size());
    for (size_t i = 0; i < plain.size(); ++i) {
      ASSERT_TRUE(again[i].second.grad().defined()) << plain[i].first;
      const double scale = plain[i].second.grad().abs().max().item<double>();
      EXPECT_LE(apart(plain[i].second.grad(), again[i].second.grad()), 1e-5 * scale)
          << plain[i].first;
    }
  }
}

TEST_F(GoldenClip, SavedAndLoadedAgainIsBitIdentical) {
  ClipModel model = load();
  model.save(folder_ / "again");
  ClipModel again = ClipModel::load(folder_ / "again");
  EXPECT_EQ(nn::parameters_hash(again), nn::parameters_hash(model));
  EXPECT_EQ(again.config().to_json(), model.config().to_json());
}

TEST_F(GoldenClip, AsStoredKeepsEachType) {
  ClipModel half = load("new", at::kHalf);
  half.save(folder_ / "half");
  ClipModel stored = ClipModel::load(folder_ / "half", at::kCPU, at::ScalarType::Undefined);
  EXPECT_EQ(nn::parameters_hash(stored), nn::parameters_hash(half));
  EXPECT_EQ(weight_type_name(stored), "float16");
  EXPECT_EQ(stored.logit_scale().value.scalar_type(), at::kFloat);
}

TEST_F(GoldenClip, RandomModelsRepeatBySeed) {
  const ClipConfig config = load().config();
  ClipModel a = ClipModel::random(config, 1), b = ClipModel::random(config, 1);
  ClipModel c = ClipModel::random(config, 2);
  EXPECT_EQ(nn::parameters_hash(a), nn::parameters_hash(b));
  EXPECT_NE(nn::parameters_hash(a), nn::parameters_hash(c));
}

TEST_F(GoldenClip, AbsurdSizesAreRefusedBeforeAllocation) {
  nlohmann::json config = load().config().to_json();
  config["text_config"]["vocab_size"] = int64_t{1} << 40;
  save_json(folder_ / "config.json", config);
  EXPECT_NE(data_error([&] { ClipConfig::load(folder_.path()); }).find("vocab_size"),
            std::string::npos);
  // In range, but far beyond the weights: nothing of that size is allocated.
  config["text_config"]["vocab_size"] = 2'000'000;
  config["text_config"]["hidden_size"] = 16384;
  config["text_config"]["intermediate_size"] = 65536;
  config["text_config"]["num_hidden_layers"] = 256;
  save_json(folder_ / "config.json", config);
  const std::string message = data_error([&] { ClipModel::load(folder_.path()); });
  EXPECT_NE(message.find("expected [2000000, 16384]"), std::string::npos) << message;
  EXPECT_NE(message.find(" more"), std::string::npos) << message;
}

}  // namespace
}  // namespace parapet

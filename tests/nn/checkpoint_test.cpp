#include "parapet/nn/checkpoint.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "nn/toy_module.h"
#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/nn/linear.h"
#include "parapet/nn/lora.h"
#include "support/live_bytes.h"
#include "support/temp_folder.h"

namespace parapet::nn {
namespace {

namespace fs = std::filesystem;
using ::parapet::test::TempFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TensorDict contents(const Module& module) {
  const NamedTensors tensors = checkpoint_tensors(module);
  return {tensors.begin(), tensors.end()};
}

TensorDict toy_file() {
  Toy toy;
  toy.fill();
  return contents(toy);
}

std::string refused(Module& module, const TensorDict& file, const TensorMap& map = {}) {
  try {
    adopt_parameters(module, file, "file", {.map = map});
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(Checkpoint, HoldsParametersAndSavedBuffers) {
  const TensorDict file = toy_file();
  EXPECT_EQ(file.size(), 9u);
  EXPECT_TRUE(file.contains("model.count"));
  EXPECT_FALSE(file.contains("model.angles"));
  Toy toy;
  adopt_parameters(toy, file, "file", {.dtype = at::kBFloat16});
  EXPECT_TRUE(at::equal(toy.count(), file.at("model.count")));  // not converted
  EXPECT_EQ(named_parameters(toy)[0].second.scalar_type(), at::kBFloat16);
}

TEST(Checkpoint, NothingIsCopiedThatNeedsNoConversion) {
  const TensorDict file = toy_file();
  Toy toy;
  adopt_parameters(toy, file, "file", {});
  for (const auto& [name, tensor] : named_parameters(toy))
    EXPECT_EQ(tensor.data_ptr(), file.at(name).data_ptr()) << name;
}

TEST(Checkpoint, EverythingWrongIsReportedTogether) {
  TensorDict file = toy_file();
  file["model.embed_token.weight"] = file.at("model.embed_tokens.weight");
  file.erase("model.embed_tokens.weight");
  file["lm_head.weight"] = at::zeros({5, 3});
  file["model.layers.0.mlp.up.bias"] = at::zeros({6}, at::kLong);
  Toy toy;
  const std::string message = refused(toy, file);
  EXPECT_THAT(message, HasSubstr("missing 'model.embed_tokens.weight' [5, 4], the closest name is "
                                 "'model.embed_token.weight'"));
  EXPECT_THAT(message, HasSubstr("'lm_head.weight' has shape [5, 3], expected [5, 4]"));
  EXPECT_THAT(message, HasSubstr("'model.layers.0.mlp.up.bias' has type I64"));
  EXPECT_THAT(message, HasSubstr("unexpected 'model.embed_token.weight'"));
}

TEST(Checkpoint, ProblemsHaveTheNamesOfTheFile) {
  const TensorMap map(
      {rename("output.weight", "lm_head.weight").transposed(),
       split("blk.{}.both", {"model.layers.{}.mlp.up.weight", "model.layers.{}.mlp.down.weight"})});
  TensorDict file = toy_file();
  file["output.weight"] = at::zeros({3, 5});
  file.erase("lm_head.weight");
  for (const char* layer : {"0", "1"})
    for (const char* kind : {".mlp.up.weight", ".mlp.down.weight"})
      file.erase(std::string("model.layers.") + layer + kind);
  file["blk.0.bath"] = at::zeros({2});
  Toy toy;
  const std::string message = refused(toy, file, map);
  EXPECT_THAT(message, HasSubstr("'output.weight' makes 'lm_head.weight' of shape [5, 3], "
                                 "expected [5, 4]"));
  EXPECT_THAT(message, HasSubstr("missing 'blk.0.both' for 'model.layers.0.mlp.up.weight', the "
                                 "closest name is 'blk.0.bath'"));
  EXPECT_THAT(message, HasSubstr("unexpected 'blk.0.bath'"));
}

TEST(Checkpoint, TiedHead) {
  const TensorMap ties({tie("lm_head.weight", "model.embed_tokens.weight")});
  Toy source(true);
  source.fill();
  TensorDict file = contents(source);
  ASSERT_FALSE(file.contains("lm_head.weight"));
  Toy toy(true);
  EXPECT_EQ(refused(toy, file, ties), "");  // absent: tied
  file["lm_head.weight"] = file.at("model.embed_tokens.weight").clone();
  EXPECT_EQ(refused(toy, file, ties), "");  // there, and the same
  file["lm_head.weight"] = file.at("model.embed_tokens.weight") + 1;
  const std::string message = refused(toy, file, ties);
  EXPECT_THAT(message, HasSubstr("'lm_head.weight' and 'model.embed_tokens.weight' are tied"));
  EXPECT_THAT(message, Not(HasSubstr("unexpected")));
  Toy untied;
  file.erase("lm_head.weight");
  EXPECT_THAT(refused(untied, file), HasSubstr("missing 'lm_head.weight'"));
}

class SavedCheckpoint : public ::testing::Test {
 protected:
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path()))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }
  void expect_loads(const NamedTensors& tensors) const {
    const TensorDict back = to_tensors(TensorArchive::open(folder_.path()));
    EXPECT_EQ(back.size(), tensors.size());
    for (const auto& [name, tensor] : tensors)
      EXPECT_TRUE(at::equal(back.at(name), tensor)) << name;
  }
  test::TempFolder folder_;
  NamedTensors tensors_ = {
      {"a", at::rand({10})}, {"b", at::rand({10})}, {"c", at::rand({30})}, {"d", at::rand({5})}};
};

TEST_F(SavedCheckpoint, IsOneFileWhenItFits) {
  save_checkpoint(folder_.path(), tensors_, 220);
  EXPECT_THAT(files(), ElementsAre("model.safetensors"));
  expect_loads(tensors_);
}

TEST_F(SavedCheckpoint, IsShardsWithAnIndexBeyond) {
  const auto written = save_checkpoint(folder_.path(), tensors_, 80);
  EXPECT_THAT(files(),
              ElementsAre("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                          "model-00003-of-00003.safetensors", "model.safetensors.index.json"));
  EXPECT_EQ(written.size(), 4u);
  const auto index = load_json(folder_ / "model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"], 220);
  EXPECT_EQ(index["weight_map"]["c"], "model-00002-of-00003.safetensors");
  expect_loads(tensors_);
}

TEST_F(SavedCheckpoint, AnEarlierSaveLeavesNoWeightsBehind) {
  write_file_atomic(folder_ / "model-of-mine.safetensors", "kept");
  write_file_atomic(folder_ / "config.json", "{}");
  save_checkpoint(folder_.path(), tensors_, 80);
  NamedTensors changed = tensors_;
  for (auto& [name, tensor] : changed) tensor = tensor + 1;
  save_checkpoint(folder_.path(), changed, 120);
  EXPECT_THAT(files(),
              ElementsAre("config.json", "model-00001-of-00003.safetensors",
                          "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors",
                          "model-of-mine.safetensors", "model.safetensors.index.json"));
  expect_loads(changed);
  save_checkpoint(folder_.path(), tensors_, 1000);
  EXPECT_THAT(files(),
              ElementsAre("config.json", "model-of-mine.safetensors", "model.safetensors"));
  expect_loads(tensors_);
  save_checkpoint(folder_.path(), changed, 140);
  EXPECT_EQ(files().size(), 5u);  // two shards and their index
  expect_loads(changed);
}

// A model with adapters, of which one file tensor may need several.
class Adapted : public Module {
 public:
  Adapted() {
    for (int i = 0; i < 6; ++i) layers_.emplace_back(64, 64, false);
  }
  template <class Self, class Visit>
  static void parts(Self& self, Visit&& visit) {
    visit("layers", self.layers_);
  }
  void walk(const Visitor& visitor) override { walk_parts("", *this, visitor); }
  void walk(const ConstVisitor& visitor) const override { walk_parts("", *this, visitor); }

 private:
  std::vector<Linear> layers_;
};

Adapted adapted() {
  Adapted model;
  each_parameter(model,
                 [](const std::string&, Parameter& p) { p.value = at::rand(p.shape, at::kFloat); });
  LoraOptions lora;
  lora.targets = {"0", "1", "2", "3", "4", "5"};
  lora.r = 2;
  add_lora(model, lora, 1);
  for (auto& [name, tensor] : lora_parameters(model)) tensor.uniform_(-1, 1);
  return model;
}

constexpr int64_t kLayerBytes = 64 * 64 * 4;

TEST_F(SavedCheckpoint, AdaptersAreMergedOneShardAtATime) {
  const at::NoGradGuard no_grad;
  const Adapted model = adapted();
  const NamedTensors merged = checkpoint_tensors(model);
  save_checkpoint(folder_.path(), model, {}, kLayerBytes);
  EXPECT_EQ(files().size(), 7u);
  expect_loads(merged);
  // A merge holds the layer's copy and its update.
  const test::LiveBytes live;
  save_checkpoint(folder_.path(), model, {}, kLayerBytes);
  EXPECT_LE(live.peak(), 3 * kLayerBytes);
  EXPECT_EQ(live.now(), 0);
}

TEST_F(SavedCheckpoint, RulesThatStackAndSplitWorkAcrossShards) {
  const at::NoGradGuard no_grad;
  const Adapted model = adapted();
  const TensorMap map({split("stack", {"layers.0.weight", "layers.3.weight"}),
                       concat({"upper", "lower"}, "layers.1.weight"),
                       rename("other.{}.weight", "layers.{}.weight")});
  const NamedTensors whole = map.to_file(checkpoint_tensors(model));
  save_checkpoint(folder_.path(), model, map, kLayerBytes / 2);
  EXPECT_GE(files().size(), 6u);
  expect_loads(whole);
  save_checkpoint(folder_.path(), model, map, 100 * kLayerBytes);
  EXPECT_THAT(files(), ElementsAre("model.safetensors"));
  expect_loads(whole);
}

}  // namespace
}  // namespace parapet::nn

#include "parapet/models/registry.h"

#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "models/clip_fixture.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Registry : public GoldenClip {
 protected:
  Registry() { load(); }  // the golden folder
  nlohmann::json config() const { return load_json(folder_ / "config.json"); }
  void set_config(const nlohmann::json& config) { save_json(folder_ / "config.json", config); }
  std::string refused() {
    return data_error([&] { load_model(folder_.path()); });
  }
};

TEST_F(Registry, LoadsByModelType) {
  const std::unique_ptr<Model> model = load_model(folder_.path());
  EXPECT_EQ(model->family(), "clip");
  EXPECT_NE(dynamic_cast<ClipModel*>(model.get()), nullptr);
  EXPECT_EQ(nn::parameters_hash(*model), nn::parameters_hash(ClipModel::load(folder_.path())));
  EXPECT_EQ(load_model(folder_.path(), {.dtype = at::kBFloat16})->device(), at::kCPU);
}

TEST_F(Registry, EveryTypeOfAFamilyHasOneOwner) {
  std::map<std::string, int> owners;
  for (const ModelFamily& family : model_families()) {
    EXPECT_FALSE(family.model_types.empty()) << family.name;
    ASSERT_NE(family.load, nullptr) << family.name;
    for (const auto& type : family.model_types) ++owners["type " + type];
    for (const auto& architecture : family.architectures) ++owners[architecture];
  }
  for (const auto& [name, count] : owners) EXPECT_EQ(count, 1) << name;
  for (const char* type : {"clip", "clip_text_model", "clip_vision_model"})
    EXPECT_EQ(owners[std::string("type ") + type], 1) << type;
}

TEST_F(Registry, AnUnknownTypeNamesFileKnownOnesAndTheClosest) {
  auto wrong = config();
  wrong["model_type"] = "clap";
  set_config(wrong);
  const std::string message = refused();
  EXPECT_THAT(message, HasSubstr((folder_ / "config.json").string()));
  EXPECT_THAT(message, HasSubstr("'clap'"));
  EXPECT_THAT(message, HasSubstr("closest is 'clip'"));
  EXPECT_THAT(message, HasSubstr("clip_vision_model"));
}

TEST_F(Registry, ArchitecturesDecideWhereTheTypeIsMissing) {
  auto old = config();
  old.erase("model_type");
  old["architectures"] = {"CLIPModel"};
  set_config(old);
  EXPECT_EQ(load_model(folder_.path())->family(), "clip");
  old["architectures"] = {"BertModel"};
  set_config(old);
  EXPECT_THAT(refused(), HasSubstr("'architectures' is 'BertModel'"));
  old.erase("architectures");
  set_config(old);
  EXPECT_THAT(refused(), HasSubstr("has no field 'model_type'"));
}

TEST_F(Registry, BadConfigurationsAreRefusedByName) {
  auto wrong = config();
  wrong["model_type"] = 7;
  set_config(wrong);
  EXPECT_THAT(refused(), HasSubstr("model_type"));
  set_config(nlohmann::json::array());
  EXPECT_THAT(refused(), HasSubstr("must be a JSON object"));
  std::ofstream(folder_ / "config.json") << "{";
  EXPECT_THAT(refused(), HasSubstr("config.json"));
  fs::remove(folder_ / "config.json");
  EXPECT_THAT(refused(), HasSubstr("config.json"));
}

TEST_F(Registry, AFamilyCanBeRequired) {
  EXPECT_NO_THROW(require_family(folder_.path(), "clip", "embedding images"));
  EXPECT_THAT(data_error([&] { require_family(folder_.path(), "llama", "generating text"); }),
              HasSubstr("is a model of the family clip, but generating text needs one of llama"));
}

TEST_F(Registry, SavesInShardsWithItsAssets) {
  const ClipModel model = load();
  write_file_atomic(folder_ / "tokenizer.json", "{}");
  write_file_atomic(folder_ / "preprocessor_config.json", "{\"a\": 1}");
  write_file_atomic(folder_ / "notes.txt", "not part of the model");
  model.save(folder_ / "out", folder_.path(), {.max_shard_bytes = 20'000});
  EXPECT_TRUE(fs::exists(folder_ / "out" / "model.safetensors.index.json"));
  EXPECT_FALSE(fs::exists(folder_ / "out" / "model.safetensors"));
  EXPECT_EQ(read_file(folder_ / "out" / "preprocessor_config.json"), "{\"a\": 1}");
  EXPECT_TRUE(fs::exists(folder_ / "out" / "tokenizer.json"));
  EXPECT_FALSE(fs::exists(folder_ / "out" / "notes.txt"));
  const auto again = load_model(folder_ / "out");
  EXPECT_EQ(nn::parameters_hash(*again), nn::parameters_hash(model));
  // Into its own folder, whose mapped file it reads from.
  const auto here = load_model(folder_.path());
  here->save(folder_.path(), folder_.path(), {.max_shard_bytes = 20'000});
  EXPECT_FALSE(fs::exists(folder_ / "model.safetensors"));
  EXPECT_EQ(nn::parameters_hash(*load_model(folder_.path())), nn::parameters_hash(model));
}

TEST_F(Registry, LoraTargetsComeFromTheFamily) {
  ClipModel model = load();
  const nn::LoraOptions resolved = with_targets({}, model);
  EXPECT_EQ(resolved.targets, model.lora_targets());
  EXPECT_EQ(with_targets({.targets = {"fc1"}}, model).targets, std::vector<std::string>{"fc1"});
  EXPECT_EQ(nn::add_lora(model, resolved, 1).size(), 2u * 2 * 6);
}

TEST_F(Registry, AdaptersGoThroughAnyModel) {
  const std::unique_ptr<Model> model = load_model(folder_.path());
  const nn::LoraOptions options = with_targets({}, *model);
  nn::add_lora(*model, options, 1);
  save_adapter(*model, options, folder_ / "adapter", "base");
  const auto again = load_model(folder_.path());
  EXPECT_EQ(nn::load_lora(*again, folder_ / "adapter").targets, options.targets);
  EXPECT_EQ(nn::lora_parameters(*again).size(), nn::lora_parameters(*model).size());
  const auto written = load_json(folder_ / "adapter" / "adapter_config.json");
  EXPECT_EQ(written["base_model_name_or_path"], "base");
  EXPECT_TRUE(written["task_type"].is_null());
}

}  // namespace
}  // namespace parapet

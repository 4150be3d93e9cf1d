// Loading, random initialisation and saving of CLIP folders.
#include <ATen/ATen.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/random.h"
#include "parapet/models/clip/clip.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

at::Tensor normal_tensor(const std::vector<int64_t>& shape, double deviation, Random& random) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  float* data = tensor.data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i)
    data[i] = static_cast<float>(random.normal() * deviation);
  return tensor;
}

}  // namespace

ClipModel ClipModel::load(const fs::path& folder, const LoadModelOptions& load) {
  ClipModel model(ClipConfig::load(folder));
  const TensorArchive archive = TensorArchive::open(folder, "model", load.storage);
  const bool single = model.config_.kind != ClipKind::kFull;
  model.bare_names_ = single &&
                      archive.find("text_model.embeddings.token_embedding.weight") == nullptr &&
                      archive.find("vision_model.embeddings.class_embedding") == nullptr;
  model.logit_scale_.shape = {};
  nn::load_parameters(model, archive, {load.device, load.dtype, model.tensor_map()});
  // bfloat16 would round 4.6052 to 4.59.
  if (single || load.dtype == at::ScalarType::Undefined) return model;
  model.logit_scale_.value =
      nn::to_tensor(*archive.find("logit_scale")).to(load.device, at::kFloat);
  return model;
}

nlohmann::json ClipModel::config_json() const { return config_.to_json(); }

nn::TensorMap ClipModel::tensor_map() const {
  return nn::TensorMap({nn::drop("*position_ids", "a buffer of files of old versions")});
}

std::vector<std::string> ClipModel::lora_targets() const {
  return {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"};
}

ModelFamily clip_family() {
  return {.name = "clip",
          .model_types = {"clip", "clip_text_model", "clip_vision_model"},
          .architectures = {"CLIPModel", "CLIPTextModel", "CLIPTextModelWithProjection",
                            "CLIPVisionModel", "CLIPVisionModelWithProjection"},
          .load = [](const fs::path& folder,
                     const LoadModelOptions& options) -> std::unique_ptr<Model> {
            return std::make_unique<ClipModel>(ClipModel::load(folder, options));
          }};
}

// The deviations of CLIPPreTrainedModel._init_weights with factor 1.
void ClipModel::init_parameter(const std::string& name, nn::Parameter& parameter,
                               uint64_t seed) const {
  if (name == "logit_scale") {
    parameter.value = at::scalar_tensor(config_.logit_scale_init_value, at::kFloat);
    return;
  }
  const bool vision = name.starts_with("vision_model.") || name == "visual_projection.weight";
  const auto width =
      static_cast<double>(vision ? config_.vision.hidden_size : config_.text.hidden_size);
  const auto layers = static_cast<double>(vision ? config_.vision.num_hidden_layers
                                                 : config_.text.num_hidden_layers);
  Random random = Random::named(seed, "clip.init." + name);
  if (name.ends_with(".bias")) {
    parameter.value = at::zeros(parameter.shape, at::kFloat);
  } else if (name.find("norm") != std::string::npos) {
    parameter.value = at::ones(parameter.shape, at::kFloat);
  } else {
    double deviation = 0.02;
    if (name.ends_with("class_embedding") || name.ends_with("_projection.weight"))
      deviation = std::pow(width, -0.5);
    else if (name.find("_proj.") != std::string::npos && !name.ends_with("out_proj.weight"))
      deviation = std::pow(width, -0.5) * std::pow(2 * layers, -0.5);
    else if (name.ends_with("out_proj.weight"))
      deviation = std::pow(width, -0.5);
    else if (name.ends_with("fc1.weight"))
      deviation = std::pow(2 * width, -0.5);
    else if (name.ends_with("fc2.weight"))
      deviation = std::pow(width, -0.5) * std::pow(2 * layers, -0.5);
    parameter.value = normal_tensor(parameter.shape, deviation, random);
  }
}

ClipModel ClipModel::random(const ClipConfig& config, uint64_t seed) {
  ClipModel model(config);
  nn::each_parameter(model, [&](const std::string& name, nn::Parameter& parameter) {
    model.init_parameter(name, parameter, seed);
  });
  return model;
}

}  // namespace parapet

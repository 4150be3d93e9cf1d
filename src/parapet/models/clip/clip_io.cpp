// Loading, random initialisation and saving of CLIP folders.
#include <ATen/ATen.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/core/random.h"
#include "parapet/models/clip/clip.h"
#include "parapet/models/model_folder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

bool ends_with_position_ids(const std::string& name) { return name.ends_with("position_ids"); }

at::Tensor normal_tensor(const std::vector<int64_t>& shape, double deviation, Random& random) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  float* data = tensor.data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i)
    data[i] = static_cast<float>(random.normal() * deviation);
  return tensor;
}

}  // namespace

ClipModel ClipModel::load(const fs::path& folder, at::Device device, at::ScalarType dtype,
                          TensorStorage storage) {
  ClipModel model(ClipConfig::load(folder));
  const TensorArchive archive = TensorArchive::open(folder, "model", storage);
  const bool single = model.config_.kind != ClipKind::kFull;
  model.bare_names_ = single &&
                      archive.find("text_model.embeddings.token_embedding.weight") == nullptr &&
                      archive.find("vision_model.embeddings.class_embedding") == nullptr;
  model.logit_scale_.shape = {};
  nn::LoadOptions options;
  options.device = device;
  options.dtype = dtype;
  options.ignore = ends_with_position_ids;
  nn::load_parameters(model.parameters(), archive, options);
  // bfloat16 would round 4.6052 to 4.59.
  if (single || dtype == at::ScalarType::Undefined) return model;
  model.logit_scale_.value = nn::to_tensor(*archive.find("logit_scale")).to(device, at::kFloat);
  return model;
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
  model.visit([&](const std::string& name, nn::Parameter& parameter) {
    model.init_parameter(name, parameter, seed);
  });
  return model;
}

std::string ClipModel::weight_type_name() {
  const nn::NamedTensors tensors = nn::named_parameters(parameters());
  switch (tensors.back().second.scalar_type()) {  // never the logit scale, which stays float32
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    case at::kDouble:
      return "float64";
    default:
      return "float32";
  }
}

void ClipModel::save(const fs::path& folder, const fs::path& from) {
  visit_linears([](const std::string& path, nn::Linear& linear) {
    if (linear.lora)
      throw Error(ErrorKind::kInternal, "ClipModel::save: merge or remove the adapter on " + path);
  });
  fs::create_directories(folder);
  nn::save_tensors(folder / "model.safetensors", nn::named_parameters(parameters()));
  nlohmann::json config = config_.to_json();
  config["dtype"] = weight_type_name();
  save_json(folder / "config.json", config);
  if (!from.empty()) copy_model_assets(from, folder);
}

std::vector<std::string> copy_model_assets(const fs::path& from, const fs::path& to) {
  std::vector<std::string> copied;
  for (const std::string_view name : model_asset_names()) {
    if (!fs::exists(from / name) || fs::equivalent(from, to)) continue;
    copy_file_atomic(from / name, to / name);
    copied.emplace_back(name);
  }
  return copied;
}

}  // namespace parapet

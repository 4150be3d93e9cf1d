#include "parapet/models/clip/clip_export.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/models/clip/clip_layouts.h"
#include "parapet/models/clip/clip_open_clip.h"
#include "parapet/models/model_folder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

// Under this key our files record the configuration, so that they come back exactly.
constexpr const char* kConfigKey = "clip_config";

bool is_vision_name(const std::string& name) {
  return name.starts_with("vision_model.") || name.starts_with("visual_projection.");
}

// All weights under our names.
nn::TensorDict canonical(const ClipModel& model) {
  const std::string added = !model.bare_names()         ? ""
                            : model.config().has_text() ? "text_model."
                                                        : "vision_model.";
  nn::TensorDict tensors;
  for (const auto& [name, tensor] : nn::named_parameters(model)) tensors[added + name] = tensor;
  return tensors;
}

ClipModel model_of(const ClipConfig& config, const nn::TensorDict& tensors,
                   const std::string& source) {
  ClipModel model(config);
  nn::LoadOptions options;
  options.dtype = at::ScalarType::Undefined;
  nn::adopt_parameters(model, tensors, source, options);
  return model;
}

// The part of a model that a class of `kind` holds.
ClipModel part_of(const ClipModel& model, ClipKind kind) {
  ClipConfig config = model.config();
  if (config.kind == ClipKind::kFull)
    config.text.projection_dim = config.vision.projection_dim = config.projection_dim;
  config.kind = kind;
  const bool projects =
      kind == ClipKind::kTextWithProjection || kind == ClipKind::kVisionWithProjection;
  nn::TensorDict tensors = canonical(model);
  std::erase_if(tensors, [&](const auto& item) {
    if (item.first == "logit_scale") return true;
    if (item.first.find("_projection.") != std::string::npos && !projects) return true;
    return is_vision_name(item.first) != config.has_vision();
  });
  return model_of(config, tensors, "the exported part");
}

bool has_projections(const ClipModel& model) {
  return model.config().kind != ClipKind::kText && model.config().kind != ClipKind::kVision;
}

void require(bool ok, const ClipExportOptions& options, const std::string& what) {
  if (!ok)
    throw UsageError("--to " + options.target + " needs " + what +
                     ", which this model does not have");
}

class Writer {
 public:
  Writer(const ClipExportOptions& options, fs::path out, fs::path assets)
      : options_(options), out_(std::move(out)), assets_(std::move(assets)) {}

  void weights(const fs::path& name, const nn::NamedTensors& tensors, const ClipConfig& config) {
    nn::NamedTensors converted;
    for (const auto& [key, tensor] : tensors) {
      const bool keep = !options_.dtype || key == "logit_scale";
      converted.emplace_back(key, keep ? tensor : tensor.to(*options_.dtype));
      result_.bytes += static_cast<int64_t>(converted.back().second.nbytes());
    }
    result_.tensors += static_cast<int64_t>(converted.size());
    const fs::path file = out_ / name;
    fs::create_directories(file.parent_path());
    nn::save_tensors(file, converted, {{kConfigKey, config.to_json().dump()}});
    result_.files.push_back(file);
  }

  void json_file(const fs::path& name, const nlohmann::json& value) {
    save_json(out_ / name, value);
    result_.files.push_back(out_ / name);
  }

  // A folder that `transformers` loads.
  void folder(const fs::path& name, const ClipModel& model) {
    const nn::TensorDict tensors = canonical(model);
    weights(name / "model.safetensors", {tensors.begin(), tensors.end()}, model.config());
    nlohmann::json config = model.config().to_json();
    config["dtype"] = options_.dtype ? type_name(*options_.dtype) : weight_type_name(model);
    json_file(name / "config.json", config);
  }

  void copy_assets(const fs::path& name) {
    if (assets_.empty()) return;
    fs::create_directories(out_ / name);
    for (const std::string& file : copy_model_assets(assets_, out_ / name))
      result_.files.push_back(out_ / name / file);
  }

  const fs::path& assets() const { return assets_; }
  ClipExport take() { return std::move(result_); }

 private:
  static std::string type_name(at::ScalarType type) {
    return type == at::kHalf ? "float16" : type == at::kBFloat16 ? "bfloat16" : "float32";
  }
  ClipExportOptions options_;
  fs::path out_, assets_;
  ClipExport result_;
};

void write_diffusers(Writer& writer, const ClipModel& model, const ClipExportOptions& options) {
  require(model.config().has_text(), options, "a text tower");
  if (options.projection) require(has_projections(model), options, "a text projection");
  ClipModel text =
      part_of(model, options.projection ? ClipKind::kTextWithProjection : ClipKind::kText);
  writer.folder("text_encoder", text);
  writer.copy_assets("tokenizer");
}

// The names that the programs' own model lists use.
std::string comfyui_name(const ClipTextConfig& text) {
  switch (text.hidden_size) {
    case 768:
      return "clip_l.safetensors";
    case 1024:
      return "clip_h.safetensors";
    case 1280:
      return "clip_g.safetensors";
    default:
      return "clip_text.safetensors";
  }
}

void write_comfyui(Writer& writer, const ClipModel& model, const ClipExportOptions& options) {
  require(model.config().has_text(), options, "a text tower");
  ClipModel text =
      part_of(model, has_projections(model) ? ClipKind::kTextWithProjection : ClipKind::kText);
  const ClipConfig& config = text.config();
  writer.weights(comfyui_name(config.text), to_layout(canonical(text), ClipLayout::kHuggingFace),
                 config);
}

void write_open_clip(Writer& writer, const ClipModel& model, const ClipExportOptions& options) {
  const ClipConfig& config = model.config();
  require(config.kind == ClipKind::kFull, options, "both towers and their projections");
  const nlohmann::json described = open_clip_config(config, writer.assets());
  writer.weights("open_clip_model.safetensors", to_layout(canonical(model), ClipLayout::kOpenClip),
                 config);
  writer.json_file("open_clip_config.json", described);
  writer.copy_assets("");
}

void write_llava(Writer& writer, const ClipModel& model, const ClipExportOptions& options) {
  require(model.config().has_vision(), options, "a vision tower");
  ClipModel vision = part_of(model, ClipKind::kVision);
  writer.folder("vision_tower", vision);
  writer.copy_assets("vision_tower");
  const auto layout = options.target == "llava" ? ClipLayout::kLlava : ClipLayout::kLlavaOriginal;
  writer.weights("llava_vision_tower.safetensors", to_layout(canonical(vision), layout),
                 vision.config());
}

// The configuration that belongs to weights at `path`.
ClipConfig find_config(const fs::path& path, const fs::path& config_from,
                       const TensorArchive& archive) {
  if (!config_from.empty()) return ClipConfig::load(config_from);
  const fs::path folder = fs::is_directory(path) ? path : path.parent_path();
  if (fs::exists(folder / "open_clip_config.json"))
    return read_open_clip_config(folder / "open_clip_config.json");
  if (fs::exists(folder / "config.json")) return ClipConfig::load(folder);
  throw DataError(archive.path().string(), "comes without config.json or open_clip_config.json",
                  "Give --config-from a Hugging Face CLIP folder of the same size.");
}

bool any_starts_with(const nn::TensorDict& tensors, const std::string& prefix) {
  const auto first = tensors.lower_bound(prefix);
  return first != tensors.end() && first->first.starts_with(prefix);
}

// Fits a configuration to the towers at hand: that of a full model also describes each tower, and
// that of a tower also a file that holds its projection.
void narrow(ClipConfig& config, const nn::TensorDict& tensors, const std::string& source) {
  const bool text = any_starts_with(tensors, "text_model.");
  const bool vision = any_starts_with(tensors, "vision_model.");
  if (text && vision) {
    if (config.kind == ClipKind::kFull) return;
    throw DataError(source, "holds both towers, but the configuration describes one",
                    "Give --config-from a folder with a CLIPModel configuration.");
  }
  if (!text && !vision) return;  // strict loading says what is missing
  if (text ? !config.has_text() : !config.has_vision())
    throw DataError(source, "holds the other tower than the configuration describes");
  if (config.kind == ClipKind::kFull) {
    config.text.projection_dim = config.vision.projection_dim = config.projection_dim;
    config.kind = text ? ClipKind::kText : ClipKind::kVision;
  }
  if (text && tensors.contains("text_projection.weight"))
    config.kind = ClipKind::kTextWithProjection;
  if (vision && tensors.contains("visual_projection.weight"))
    config.kind = ClipKind::kVisionWithProjection;
  config.projection_dim = text ? config.text.projection_dim : config.vision.projection_dim;
}

std::string archive_stem(const fs::path& path) {
  return fs::is_directory(path) && !fs::exists(path / "model.safetensors") &&
                 fs::exists(path / "open_clip_model.safetensors")
             ? "open_clip_model"
             : "model";
}

}  // namespace

std::vector<std::string> clip_export_targets() {
  return {"hf", "diffusers", "comfyui", "open_clip", "llava", "llava_original"};
}

ClipExport export_clip(const ClipModel& model, const ClipExportOptions& options,
                       const fs::path& out, const fs::path& assets) {
  Writer writer(options, out, assets);
  if (options.target == "hf") {
    writer.folder("", model);
    writer.copy_assets("");
  } else if (options.target == "diffusers") {
    write_diffusers(writer, model, options);
  } else if (options.target == "comfyui") {
    write_comfyui(writer, model, options);
  } else if (options.target == "open_clip") {
    write_open_clip(writer, model, options);
  } else if (options.target == "llava" || options.target == "llava_original") {
    write_llava(writer, model, options);
  } else {
    throw UsageError("--to: '" + options.target + "' is not known; choose from " +
                     join(clip_export_targets(), ", "));
  }
  return writer.take();
}

ClipModel import_clip(const fs::path& path, const fs::path& config_from) {
  const TensorArchive archive = TensorArchive::open(path, archive_stem(path));
  const std::string source = archive.path().string();
  const auto recorded = archive.metadata().find(kConfigKey);
  ClipConfig config = config_from.empty() && recorded != archive.metadata().end()
                          ? ClipConfig::parse(parse_json(recorded->second, source), source)
                          : find_config(path, config_from, archive);
  const nn::TensorDict tensors = from_layout(nn::to_tensors(archive), source);
  // A configuration from elsewhere may describe more than the file holds; the model's own may not.
  if (!config_from.empty()) narrow(config, tensors, source);
  return model_of(config, tensors, source);
}

}  // namespace parapet

#include "parapet/models/llava/llava_vision.h"

#include <ATen/ATen.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/nn/as_type.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kAnchor = "embeddings.class_embedding";

// Our tower under bare names: "encoder.layers.0....", "post_layernorm.weight".
std::map<std::string, at::Tensor> vision_tensors(const ClipModel& model) {
  std::map<std::string, at::Tensor> tensors;
  const std::string prefix = model.bare_names() ? "" : "vision_model.";
  nn::each_parameter(model, [&](const std::string& name, const nn::Parameter& parameter) {
    if (name.starts_with(prefix)) tensors[name.substr(prefix.size())] = parameter.value;
  });
  return tensors;
}

// What stands before the tower's bare names in the checkpoint.
std::string tower_prefix(const TensorArchive& archive) {
  for (const auto& [name, view] : archive.tensors())
    if (name.ends_with(kAnchor) && name.find("vision_tower.") != std::string::npos)
      return name.substr(0, name.size() - kAnchor.size());
  throw DataError(archive.path().string(), "has no tensor vision_tower.…" + std::string(kAnchor),
                  "Give the folder of a LLaVA checkpoint with a CLIP vision tower.");
}

void check_config(const ClipVisionConfig& ours, const fs::path& file) {
  const nlohmann::json root = load_json(file);
  const auto theirs = root.find("vision_config");
  if (theirs == root.end()) return;  // LLaVA's own repository names a tower instead
  const nlohmann::json wanted = {{"hidden_size", ours.hidden_size},
                                 {"intermediate_size", ours.intermediate_size},
                                 {"num_hidden_layers", ours.num_hidden_layers},
                                 {"num_attention_heads", ours.num_attention_heads},
                                 {"image_size", ours.image_size},
                                 {"patch_size", ours.patch_size},
                                 {"hidden_act", nn::activation_name(ours.hidden_act)}};
  std::vector<std::string> different;
  for (const auto& [field, value] : wanted.items())
    if (theirs->contains(field) && (*theirs)[field] != value)
      different.push_back(field + " " + (*theirs)[field].dump() + " (this model: " + value.dump() +
                          ")");
  if (!different.empty())
    throw DataError(file.string(), "vision_config has " + join(different, ", "),
                    "The tower must be of the size that the checkpoint was trained with.");
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::vector<std::string> parts;
  for (const int64_t size : shape) parts.push_back(std::to_string(size));
  return "[" + join(parts, ", ") + "]";
}

// DataError with everything in which the two towers differ.
void check_names(const std::map<std::string, at::Tensor>& ours, const TensorArchive& archive,
                 const std::string& prefix) {
  std::vector<std::string> problems;
  for (const auto& [name, tensor] : ours) {
    const TensorView* view = archive.find(prefix + name);
    if (view == nullptr)
      problems.push_back("missing '" + prefix + name + "'");
    else if (view->shape != tensor.sizes().vec())
      problems.push_back("'" + prefix + name + "' is " + shape_text(view->shape) + ", expected " +
                         shape_text(tensor.sizes().vec()));
  }
  for (const auto& [name, view] : archive.tensors())
    if (name.starts_with(prefix) && !ours.contains(name.substr(prefix.size())) &&
        !name.ends_with("position_ids"))
      problems.push_back("unexpected '" + name + "'");
  if (problems.empty()) return;
  const size_t count = problems.size();
  if (count > 8) problems.resize(8);
  throw DataError(archive.path().string(), "its vision tower differs in " + std::to_string(count) +
                                               " tensors: " + join(problems, "; ") +
                                               (count > 8 ? "; ..." : ""));
}

// Everything beside the weights.
void copy_other_files(const fs::path& from, const fs::path& to, const std::set<fs::path>& written,
                      ClipExport& result) {
  static const std::set<std::string> kPickles = {".bin", ".pt", ".pth", ".ckpt"};
  for (const auto& entry : fs::directory_iterator(from)) {
    if (!entry.is_regular_file() || written.contains(entry.path().filename()) ||
        kPickles.contains(to_lower_ascii(entry.path().extension().string())))
      continue;
    const fs::path file = to / entry.path().filename();
    copy_file_atomic(entry.path(), file);
    result.files.push_back(file);
  }
}

}  // namespace

ClipExport put_into_llava(const ClipModel& model, const fs::path& llava, const fs::path& out) {
  if (!model.config().has_vision())
    throw UsageError("--into needs a vision tower, which this model does not have");
  if (fs::exists(out) && fs::equivalent(out, llava))
    throw UsageError("--out must not be the checkpoint itself: " + llava.string());
  const TensorArchive archive = TensorArchive::open(llava);
  check_config(model.config().vision, llava / "config.json");
  const std::string prefix = tower_prefix(archive);
  const auto ours = vision_tensors(model);
  check_names(ours, archive, prefix);

  fs::create_directories(out);
  ClipExport result;
  std::map<std::string, nn::NamedTensors> files;  // by the shard that held them
  for (const auto& [name, view] : archive.tensors()) {
    at::Tensor tensor = nn::to_tensor(view);
    const auto own = name.starts_with(prefix) ? ours.find(name.substr(prefix.size())) : ours.end();
    if (own != ours.end()) {
      tensor = nn::as_type(own->second, tensor.scalar_type());
      ++result.tensors;
      result.bytes += static_cast<int64_t>(tensor.nbytes());
    }
    files[archive.source_of(name)].emplace_back(name, tensor);
  }
  std::set<fs::path> written;
  for (const auto& [source, tensors] : files) {
    const fs::path name = fs::path(source).filename();
    nn::save_tensors(out / name, tensors, archive.metadata());
    written.insert(name);
    result.files.push_back(out / name);
  }
  copy_other_files(llava, out, written, result);
  return result;
}

}  // namespace parapet

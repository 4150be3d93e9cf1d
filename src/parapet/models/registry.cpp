#include "parapet/models/registry.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/models/clip/clip.h"
#include "parapet/models/llama/llama.h"
#include "parapet/models/llava/llava.h"

namespace parapet {
namespace {

bool contains(const std::vector<std::string>& list, const std::string& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

std::vector<std::string> known_types() {
  std::vector<std::string> types;
  for (const ModelFamily& family : model_families())
    types.insert(types.end(), family.model_types.begin(), family.model_types.end());
  return types;
}

[[noreturn]] void throw_unknown(const std::string& source, const std::string& field,
                                const std::string& value) {
  const auto types = known_types();
  const std::string closest = closest_name(value, types);
  throw DataError(source,
                  "field '" + field + "' is '" + value + "', which no model here has" +
                      (closest.empty() ? "" : "; the closest is '" + closest + "'"),
                  "Known model types: " + join(types, ", ") + ".");
}

// Some old files of single towers name their class only.
const ModelFamily& by_architecture(const nlohmann::json& config, const std::string& source) {
  std::vector<std::string> names;
  if (const auto it = config.find("architectures"); it != config.end() && it->is_array())
    for (const auto& name : *it)
      if (name.is_string()) names.push_back(name.get<std::string>());
  for (const ModelFamily& family : model_families())
    for (const std::string& name : names)
      if (contains(family.architectures, name)) return family;
  if (!names.empty()) throw_unknown(source, "architectures", names.front());
  throw DataError(source, "has no field 'model_type'",
                  "Known model types: " + join(known_types(), ", ") + ".");
}

}  // namespace

const std::vector<ModelFamily>& model_families() {
  static const std::vector<ModelFamily> families = {clip_family(), llama_family(), llava_family()};
  return families;
}

const ModelFamily& model_family(const std::filesystem::path& folder) {
  const auto file = folder / "config.json";
  const nlohmann::json config = load_json(file);
  const std::string source = file.string();
  if (!config.is_object()) throw DataError(source, "must be a JSON object");
  if (!config.contains("model_type")) return by_architecture(config, source);
  const auto type = json_field<std::string>(config, "model_type", source);
  for (const ModelFamily& family : model_families())
    if (contains(family.model_types, type)) return family;
  throw_unknown(source, "model_type", type);
}

void require_family(const std::filesystem::path& folder, std::string_view name,
                    std::string_view purpose) {
  const ModelFamily& family = model_family(folder);
  if (family.name == name) return;
  throw DataError((folder / "config.json").string(), "is a model of the family " + family.name +
                                                         ", but " + std::string(purpose) +
                                                         " needs one of " + std::string(name));
}

std::unique_ptr<Model> load_model(const std::filesystem::path& folder,
                                  const LoadModelOptions& options) {
  return model_family(folder).load(folder, options);
}

}  // namespace parapet

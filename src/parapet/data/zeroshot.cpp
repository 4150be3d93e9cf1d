#include "parapet/data/zeroshot.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/data/dataset.h"

namespace parapet {
namespace {

using nlohmann::json;

const json& array_field(const json& object, const char* field, const std::string& source) {
  const auto it = object.find(field);
  if (it == object.end() || !it->is_array() || it->empty())
    throw DataError(source, std::string("field '") + field + "' must be a list with entries");
  return *it;
}

std::string with_article(const std::string& name) {
  const bool plural = name.size() > 1 && name.back() == 's' && name[name.size() - 2] != 's';
  // "a skull and crossbones" is one thing.
  if (plural && name.find(" and ") == std::string::npos) return name;
  const bool vowel = std::string_view("aeiouAEIOU").find(name[0]) != std::string_view::npos;
  return (vowel ? "an " : "a ") + name;
}

}  // namespace

std::string fill_template(const std::string& pattern, const std::string& name) {
  std::string text = pattern;
  if (const size_t at = text.find("{a}"); at != std::string::npos)
    text.replace(at, 3, with_article(name));
  if (const size_t at = text.find("{}"); at != std::string::npos) text.replace(at, 2, name);
  return text;
}

ZeroShotSet load_zeroshot(const std::filesystem::path& folder) {
  const auto file = folder / "zeroshot.json";
  const std::string source = file.string();
  const json root = load_json(file);
  if (!root.is_object()) throw DataError(source, "must be a JSON object");
  ZeroShotSet set;
  set.templates = json_field<std::vector<std::string>>(root, "templates", source);
  if (set.templates.empty()) throw DataError(source, "field 'templates' is empty");
  for (const auto& entry : array_field(root, "classes", source)) {
    const std::string place = source + ": classes[" + std::to_string(set.classes.size()) + "]";
    if (!entry.is_object()) throw DataError(place, "must be an object");
    ZeroShotClass item;
    item.name = json_field<std::string>(entry, "name", place);
    if (item.name.empty()) throw DataError(place, "field 'name' is empty");
    item.unsafe = json_field_or<bool>(entry, "unsafe", false, place);
    item.category = json_field_or<std::string>(entry, "category", "", place);
    set.classes.push_back(std::move(item));
  }
  for (const auto& entry : array_field(root, "images", source)) {
    const std::string place = source + ": images[" + std::to_string(set.images.size()) + "]";
    if (!entry.is_object()) throw DataError(place, "must be an object");
    ZeroShotImage item;
    item.image = resolve_location(folder, json_field<std::string>(entry, "image", place));
    item.class_index = json_field<int64_t>(entry, "class", place);
    if (item.class_index < 0 || item.class_index >= static_cast<int64_t>(set.classes.size()))
      throw DataError(place, "field 'class' must be in 0.." +
                                 std::to_string(set.classes.size() - 1) + ", not " +
                                 std::to_string(item.class_index));
    item.split = json_field_or<std::string>(entry, "split", "test", place);
    item.style = json_field_or<std::string>(entry, "style", "", place);
    set.images.push_back(std::move(item));
  }
  return set;
}

void save_zeroshot(const std::filesystem::path& folder, const ZeroShotSet& set) {
  json root;
  root["templates"] = set.templates;
  for (const auto& item : set.classes)
    root["classes"].push_back(
        {{"name", item.name}, {"unsafe", item.unsafe}, {"category", item.category}});
  for (const auto& item : set.images)
    root["images"].push_back({{"image", item.image},
                              {"class", item.class_index},
                              {"split", item.split},
                              {"style", item.style}});
  save_json(folder / "zeroshot.json", root);
}

}  // namespace parapet

// ViSU-Text: a list of {incremental_id, safe, nsfw, coco_id, tag}; also an object keyed by number,
// alone or under "data", whose entries may name the unsafe image in nsfw_im_path.
#include <nlohmann/json.hpp>

#include "parapet/core/json.h"
#include "parapet/data/import_sink.h"

namespace parapet::importing {
namespace {

using nlohmann::json;

// Ids are numbers in some releases and strings in others.
std::string id_text(const json& object, const char* field, const std::string& place,
                    const std::string& fallback) {
  const auto it = object.find(field);
  if (it == object.end() || it->is_null()) return fallback;
  if (it->is_string()) return it->get<std::string>();
  if (it->is_number_integer()) return std::to_string(it->get<int64_t>());
  throw DataError(place, std::string("field '") + field + "' must be a number or a string, not " +
                             it->type_name());
}

// {name} or {name:0N} replaced by the value, zero-padded to N digits.
std::string substitute(std::string text, const std::string& name, const std::string& value,
                       const std::string& place) {
  for (size_t at = text.find("{" + name); at != std::string::npos; at = text.find("{" + name, at)) {
    const size_t close = text.find('}', at);
    if (close == std::string::npos) throw UsageError("image pattern '" + text + "' lacks a '}'");
    const std::string key = text.substr(at + 1, close - at - 1);
    size_t width = 0;
    if (key.size() > name.size()) {
      const std::string digits = key.substr(name.size() + 1);
      if (key[name.size()] != ':' || digits.empty() || digits.size() > 3 ||
          digits.find_first_not_of("0123456789") != std::string::npos)
        throw UsageError("image pattern: {" + key + "} should read {" + name + "} or {" + name +
                         ":012}");
      width = std::stoul(digits);
    }
    if (value.empty())
      throw DataError(place, "field '" + name + "' is missing, but the image pattern needs it");
    const std::string padded =
        value.size() < width ? std::string(width - value.size(), '0') + value : value;
    text.replace(at, close - at + 1, padded);
    at += padded.size();
  }
  return text;
}

std::string required_text(const json& object, const char* field, const std::string& place) {
  auto text = json_field<std::string>(object, field, place);
  if (text.empty()) throw DataError(place, std::string("field '") + field + "' is empty");
  return text;
}

Quadruplet read_entry(const json& entry, const std::string& key, const std::string& place,
                      const std::filesystem::path& file, const Sink& sink) {
  if (!entry.is_object())
    throw DataError(place, std::string("must be an object, not ") + entry.type_name());
  const ImportOptions& options = sink.options();
  const std::string number = id_text(entry, "incremental_id", place, key);
  const std::string coco = id_text(entry, "coco_id", place, "");
  Quadruplet out;
  out.id = "visu-" + options.split + "-" + number;
  out.safe_text = required_text(entry, "safe", place);
  out.unsafe_text = required_text(entry, "nsfw", place);
  out.category = required_text(entry, "tag", place);
  out.split = options.split;
  if (!coco.empty()) out.attributes["coco_id"] = coco;
  if (options.safe_pattern.empty()) return out;
  const auto fill = [&](const std::string& pattern) {
    const auto text = substitute(pattern, "coco_id", coco, place);
    return sink.image_path(file, substitute(text, "id", number, place));
  };
  out.safe_image = fill(options.safe_pattern);
  const auto named = json_field_or<std::string>(entry, "nsfw_im_path", "", place);
  out.unsafe_image = named.empty() ? fill(options.unsafe_pattern) : sink.image_path(file, named);
  return out;
}

}  // namespace

void import_visu(const std::filesystem::path& file, Sink& sink) {
  json root = load_json(file);
  if (root.is_object() && root.contains("data")) root = json(std::move(root["data"]));
  if (!root.is_array() && !root.is_object())
    throw DataError(file.string(), "must be a list of records, or an object keyed by number");
  int64_t number = 0;
  for (const auto& [key, entry] : root.items()) {
    if (number % 1024 == 0) sink.check_cancelled();
    const std::string place = file.string() + ": record " + std::to_string(number++);
    try {
      sink.add(read_entry(entry, key, place, file, sink), place);
    } catch (const DataError& error) {
      sink.bad(key, error);
    }
  }
}

}  // namespace parapet::importing

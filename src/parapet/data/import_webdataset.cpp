// webdataset and img2dataset shards: an image with a caption in .txt, .caption or the JSON's
// "caption".
#include <nlohmann/json.hpp>

#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/data/image_store.h"
#include "parapet/data/import_sink.h"
#include "parapet/formats/image.h"
#include "parapet/formats/tar.h"

namespace parapet::importing {
namespace {

// Consecutive members with one key.
struct Group {
  std::string key;
  std::map<std::string, TarMember> parts;  // by extension, lower case
};

std::pair<std::string, std::string> split_key(const std::string& name) {
  const size_t slash = name.rfind('/');
  const size_t dot = name.find('.', slash == std::string::npos ? 0 : slash + 1);
  if (dot == std::string::npos) return {name, ""};
  return {name.substr(0, dot), to_lower_ascii(name.substr(dot + 1))};
}

const TarMember* find_image(const Group& group) {
  for (const char* extension : {"jpg", "jpeg", "png", "webp", "gif"})
    if (const auto it = group.parts.find(extension); it != group.parts.end()) return &it->second;
  return nullptr;
}

std::string find_text(const Group& group, const std::string& place,
                      std::map<std::string, std::string>& attributes) {
  std::string text;
  for (const char* extension : {"txt", "caption", "text"})
    if (const auto it = group.parts.find(extension); text.empty() && it != group.parts.end())
      text = std::string(trim(it->second.bytes));
  const auto it = group.parts.find("json");
  if (it == group.parts.end()) return text;
  const std::string source = place + ".json";
  const auto object = parse_json(it->second.bytes, source);
  if (!object.is_object()) throw DataError(source, "must be a JSON object");
  for (const char* field : {"url", "license", "sha256"})
    if (const auto value = object.find(field); value != object.end() && value->is_string())
      attributes[field] = value->get<std::string>();
  for (const char* field : {"caption", "text"})
    if (text.empty()) text = json_field_or<std::string>(object, field, "", source);
  return text;
}

// Compressed shards cannot be read member by member later, so their images are copied.
bool must_copy(const std::string& shard, const ImportOptions& options) {
  return options.copy_images || !to_lower_ascii(shard).ends_with(".tar");
}

void add_group(const Group& group, const std::string& shard, ImageStore& store, Sink& sink) {
  const std::string place = shard + "#" + group.key;
  const std::string stem = std::filesystem::path(shard).filename().string();
  CaptionSample sample;
  sample.id = stem.substr(0, stem.find('.')) + "/" + group.key;
  try {
    const TarMember* image = find_image(group);
    if (image == nullptr) throw DataError(place, "has no image (jpg, jpeg, png, webp or gif)");
    image_size(image->bytes, shard + "#" + image->name);
    sample.text = find_text(group, place, sample.attributes);
    if (sample.text.empty())
      throw DataError(place, "has no caption (.txt, .caption, or \"caption\" in .json)");
    sample.split = sink.options().split;
    if (must_copy(shard, sink.options())) {
      store.next_sample();
      std::string name = sample.id + "." + split_key(image->name).second;
      std::replace(name.begin(), name.end(), '/', '_');
      sample.image = store.add(name, image->bytes);
    } else {
      sample.image = shard + "#" + image->name;
    }
    sink.add(std::move(sample), place);
  } catch (const DataError& error) {
    sink.bad(sample.id, error);
  }
}

}  // namespace

void import_webdataset(const std::vector<std::string>& shards, Sink& sink) {
  ImageStore store(sink.folder(), ImageStore::Format::kFolder, "import");
  for (const auto& shard : shards) {
    sink.check_cancelled();
    TarReader reader(shard);
    TarMember member;
    Group group;
    const auto flush = [&] {
      if (!group.parts.empty()) add_group(group, shard, store, sink);
      group.parts.clear();
    };
    while (reader.next(member)) {
      auto [key, extension] = split_key(member.name);
      if (key != group.key) flush();
      group.key = key;
      group.parts[extension] = std::move(member);
      member = {};
    }
    flush();
  }
  store.finish();
}

}  // namespace parapet::importing

#include "parapet/data/shard_caption.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/core/text_encoding.h"

namespace parapet {

ShardCaption read_shard_caption(const std::map<std::string, std::string>& parts,
                                const std::string& place) {
  ShardCaption out;
  for (const char* extension : {"jpg", "jpeg", "png", "webp", "gif"})
    if (out.image.empty() && parts.contains(extension)) out.image = extension;
  if (out.image.empty()) throw DataError(place, "has no image (jpg, jpeg, png, webp or gif)");
  std::string storage;
  for (const char* extension : {"txt", "caption", "text"})
    if (const auto it = parts.find(extension); out.text.empty() && it != parts.end())
      out.text = std::string(trim(utf8_text(it->second, place + "." + extension, storage)));
  if (const auto it = parts.find("json"); it != parts.end()) {
    const std::string source = place + ".json";
    const auto object = parse_json(marked_text(it->second, source, storage), source);
    if (!object.is_object()) throw DataError(source, "must be a JSON object");
    for (const char* field : {"url", "license", "sha256"})
      if (const auto value = object.find(field); value != object.end() && value->is_string())
        out.attributes[field] = value->get<std::string>();
    for (const char* field : {"caption", "text"})
      if (out.text.empty()) out.text = json_field_or<std::string>(object, field, "", source);
  }
  if (out.text.empty())
    throw DataError(place, "has no caption (.txt, .caption, or \"caption\" in .json)");
  return out;
}

}  // namespace parapet

#include "parapet/text/post_processor.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"

namespace parapet::text {
namespace {

using nlohmann::json;

// ["token", id]
int32_t token_and_id(const json& section, const char* field, const std::string& place) {
  const auto it = section.find(field);
  if (it == section.end() || !it->is_array() || it->size() != 2 || !(*it)[1].is_number_integer())
    throw DataError(place, std::string("field '") + field + "' must be [token, id]");
  return (*it)[1].get<int32_t>();
}

void append_special(const json& special, const json& known, std::vector<int32_t>& ids,
                    const std::string& place) {
  const auto name = json_field<std::string>(special, "id", place);
  const auto entry = known.find(name);
  if (entry == known.end()) throw DataError(place, "special token '" + name + "' is not declared");
  for (const int64_t id : json_field<std::vector<int64_t>>(*entry, "ids", place))
    ids.push_back(static_cast<int32_t>(id));
}

PostProcessor load_template(const json& section, const std::string& place) {
  PostProcessor result;
  const json known = section.value("special_tokens", json::object());
  const json parts = section.value("single", json());
  bool text_seen = false;
  if (!parts.is_array() || !known.is_object())
    throw DataError(place, "needs the list 'single' and the object 'special_tokens'");
  for (const json& part : parts) {
    if (part.is_object() && part.contains("Sequence")) {
      if (text_seen) throw DataError(place, "a template that repeats the text is not supported");
      text_seen = true;
    } else if (part.is_object() && part.contains("SpecialToken")) {
      append_special(part["SpecialToken"], known, text_seen ? result.after : result.before, place);
    } else {
      throw DataError(place, "a template part must be a Sequence or a SpecialToken");
    }
  }
  if (!text_seen) throw DataError(place, "a template without the text is not supported");
  return result;
}

PostProcessor load_sequence(const json& section, std::string_view source) {
  const auto items = section.find("processors");
  if (items == section.end() || !items->is_array())
    throw DataError(source, "a Sequence post_processor needs the list 'processors'");
  PostProcessor result;
  for (const json& item : *items) {
    const PostProcessor outer = load_post_processor(item, source);
    result.before.insert(result.before.begin(), outer.before.begin(), outer.before.end());
    result.after.insert(result.after.end(), outer.after.begin(), outer.after.end());
  }
  return result;
}

}  // namespace

PostProcessor load_post_processor(const json& section, std::string_view source) {
  if (section.is_null()) return {};
  const auto type = json_field<std::string>(section, "type", source);
  const std::string place = std::string(source) + ": post_processor " + type;
  if (type == "ByteLevel") return {};
  if (type == "Sequence") return load_sequence(section, source);
  if (type == "TemplateProcessing") return load_template(section, place);
  if (type == "RobertaProcessing" || type == "BertProcessing")
    return {{token_and_id(section, "cls", place)}, {token_and_id(section, "sep", place)}};
  throw DataError(source, "post_processor '" + type + "' is not supported");
}

}  // namespace parapet::text

#include "parapet/data/records.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void require_object(const json& object, const std::string& place) {
  if (!object.is_object())
    throw DataError(place, std::string("must be a JSON object, not ") + object.type_name());
}

std::string required_text(const json& object, std::string_view field, const std::string& place) {
  auto text = json_field<std::string>(object, field, place);
  if (text.empty()) throw DataError(place, "field '" + std::string(field) + "' is empty");
  return text;
}

std::map<std::string, std::string> string_map(const json& object, std::string_view field,
                                              const std::string& place) {
  std::map<std::string, std::string> out;
  const auto it = object.find(field);
  if (it == object.end() || it->is_null()) return out;
  if (!it->is_object())
    throw DataError(place,
                    "field '" + std::string(field) + "' must be an object, not " + it->type_name());
  for (const auto& [key, value] : it->items()) {
    if (!value.is_string())
      throw DataError(place, "field '" + std::string(field) + "." + key +
                                 "' must be a string, not " + value.type_name());
    out[key] = value.get<std::string>();
  }
  return out;
}

std::string image_value(const json& object, std::string_view field, const std::string& place,
                        const fs::path& folder, bool required) {
  if (required) return resolve_location(folder, required_text(object, field, place));
  return resolve_location(folder, json_field_or<std::string>(object, field, "", place));
}

void put_if(json& object, const char* field, const std::string& value) {
  if (!value.empty()) object[field] = value;
}

}  // namespace

void read_record(const json& object, const std::string& place, const fs::path& folder,
                 bool require_images, Quadruplet& sample) {
  require_object(object, place);
  sample.id = required_text(object, "id", place);
  sample.safe_text = required_text(object, "safe_text", place);
  sample.unsafe_text = required_text(object, "unsafe_text", place);
  sample.safe_image = image_value(object, "safe_image", place, folder, require_images);
  sample.unsafe_image = image_value(object, "unsafe_image", place, folder, require_images);
  sample.category = required_text(object, "category", place);
  sample.split = required_text(object, "split", place);
  sample.attributes = string_map(object, "attributes", place);
}

void read_record(const json& object, const std::string& place, const fs::path& folder,
                 bool /*require_images*/, CaptionSample& sample) {
  require_object(object, place);
  sample.id = required_text(object, "id", place);
  sample.text = required_text(object, "text", place);
  sample.image = image_value(object, "image", place, folder, true);
  sample.split = required_text(object, "split", place);
  sample.attributes = string_map(object, "attributes", place);
}

void read_record(const json& object, const std::string& place, const fs::path& folder,
                 bool /*require_images*/, LabelSample& sample) {
  require_object(object, place);
  sample.id = required_text(object, "id", place);
  sample.image = image_value(object, "image", place, folder, false);
  sample.text = json_field_or<std::string>(object, "text", "", place);
  if (sample.image.empty() && sample.text.empty())
    throw DataError(place, "has neither field 'image' nor field 'text'");
  if (!object.contains("labels")) throw DataError(place, "field 'labels' is missing");
  sample.labels = string_map(object, "labels", place);
  for (const auto& [category, grade] : sample.labels)
    if (grade != "none" && grade != "explicit" && grade != "implicit" && grade != "context")
      throw DataError(place, "field 'labels." + category +
                                 "' must be none, explicit, implicit or context, not '" + grade +
                                 "'");
  sample.split = required_text(object, "split", place);
  sample.attributes = string_map(object, "attributes", place);
}

json to_json(const Quadruplet& sample) {
  json out = {{"id", sample.id},
              {"safe_text", sample.safe_text},
              {"unsafe_text", sample.unsafe_text},
              {"category", sample.category},
              {"split", sample.split},
              {"attributes", sample.attributes}};
  put_if(out, "safe_image", sample.safe_image);
  put_if(out, "unsafe_image", sample.unsafe_image);
  return out;
}

json to_json(const CaptionSample& sample) {
  return {{"id", sample.id},
          {"text", sample.text},
          {"image", sample.image},
          {"split", sample.split},
          {"attributes", sample.attributes}};
}

json to_json(const LabelSample& sample) {
  json out = {{"id", sample.id},
              {"labels", sample.labels},
              {"split", sample.split},
              {"attributes", sample.attributes}};
  put_if(out, "image", sample.image);
  put_if(out, "text", sample.text);
  return out;
}

RecordFile::RecordFile(fs::path file) : file_(std::move(file)) {}

void RecordFile::flush() {
  if (!draft_) draft_ = std::make_unique<FileDraft>(file_);
  draft_->append(buffer_);
  buffer_.clear();
}

void RecordFile::add(const json& record) {
  buffer_ += record.dump(-1, ' ', false, json::error_handler_t::replace);
  buffer_ += '\n';
  ++count_;
  if (buffer_.size() > (size_t{1} << 20)) flush();
}

void RecordFile::finish() {
  if (count_ == 0) return;
  flush();
  draft_->commit();
  draft_.reset();
}

}  // namespace parapet

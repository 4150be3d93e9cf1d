// What every dialect understands beside its content.
#include "parapet/serving/dialect_parts.h"

namespace parapet::serving {
namespace {

using nlohmann::json;

constexpr double kMaxDeadlineMs = 600'000;
constexpr size_t kMaxMetadata = 64;

bool has_scheme(const std::string& value) {
  for (const char* scheme : {"data:", "https:", "http:"}) {
    const std::string name = scheme;
    if (value.size() < name.size()) continue;
    bool same = true;
    for (size_t i = 0; i < name.size(); ++i) same = same && (value[i] | 0x20) == (name[i] | 0x20);
    if (same) return true;
  }
  return false;
}

}  // namespace

void read_options(Fields& fields, guard::GuardRequest& input, RequestOptions& options) {
  input.id = fields.text("id", 128).value_or(input.id);
  if (const int side = fields.choice("side", {"input", "output"}); side >= 0)
    input.side = side == 0 ? guard::Side::kInput : guard::Side::kOutput;
  input.profile = fields.text("profile", 128).value_or("");
  input.tenant = fields.text("tenant", 128).value_or("");
  options.deadline_ms = fields.number("deadline_ms", 1, kMaxDeadlineMs);
  input.modify = fields.flag("modify").value_or(true);
  input.explain = fields.flag("explain").value_or(false);
  const json* metadata = fields.object("metadata");
  if (metadata == nullptr) return;
  if (metadata->size() > kMaxMetadata)
    throw ApiError(400, "too_many_values", "'" + fields.path("metadata") + "' is too large",
                   fields.path("metadata"));
  for (const auto& [name, value] : metadata->items())
    input.metadata[name] = string_of(value, fields.path("metadata") + "." + name);
}

guard::Part image_part(std::string value, std::string label) {
  if (has_scheme(value)) return guard::Part::url(std::move(value), std::move(label));
  return guard::Part::base64(std::move(value), std::move(label));
}

}  // namespace parapet::serving

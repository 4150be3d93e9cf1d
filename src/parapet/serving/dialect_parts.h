// Internal: what the dialects share.
#pragma once
#include <set>
#include <string>
#include <utility>

#include "parapet/serving/dialects.h"
#include "parapet/serving/json_body.h"

namespace parapet::serving {

// id, side, profile, tenant, deadline_ms, modify, explain, metadata.
void read_options(Fields& fields, guard::GuardRequest& input, RequestOptions& options);

// Base64 without a scheme, or a URL. What is wrong with either is the guard's to report: such an
// image was not scanned.
guard::Part image_part(std::string value, std::string label);

// Gathers the content of a request: nothing that a model may be given is left out, and what nothing
// here reads (audio, files, kinds that are not known) becomes a part that says so.
class PartReader {
 public:
  // `once`: what was read before is left out, as where messages repeat what a request lists.
  PartReader(guard::GuardRequest& request, std::vector<std::string>& unknown, bool once = false)
      : request_(request), unknown_(unknown), once_(once) {}

  // A text, and beside it what JSON in it says.
  void text(const std::string& text, const std::string& label);
  void image(std::string value, std::string label);
  // One item of a message's `content`: {"type": "text", "text": ...}, {"type": "image_url",
  // "image_url": {"url": ...}}, ours, {"type": "image", "data": base64}, those of the Responses and
  // Messages APIs, and whatever else has a type. `path` names it in errors and becomes its label.
  void part(const nlohmann::json& value, const std::string& path);
  // A chat message: its content, calls of tools, and what else it carries.
  void message(const nlohmann::json& value, const std::string& path);
  // {"function": {"name", "arguments"}}.
  void tool_call(const nlohmann::json& value, const std::string& path);
  // What tools are called and how they are described; small ones together.
  void tools(const nlohmann::json& list, const std::string& path);
  // Counts the parts of `request` as read.
  void skip(const guard::GuardRequest& request);

 private:
  void typed_part(const std::string& type, Fields& fields, const std::string& path);
  void content(const nlohmann::json& value, const std::string& path);
  void image_value(const nlohmann::json& value, const std::string& path, const std::string& label);
  void call(const nlohmann::json* name, const nlohmann::json* arguments, const std::string& path);
  void other(const nlohmann::json& value, const std::string& path);
  void items(const nlohmann::json& list, const std::string& path);
  bool image_fields(Fields& fields, const std::string& label);
  void image_part_fields(Fields& fields, const std::string& path);
  // A text that repeats the address of a picture is no picture.
  enum class Kind { kText, kImage };
  bool is_new(const std::string& value, Kind kind = Kind::kText) {
    return !once_ || seen_.emplace(kind, value).second;
  }

  guard::GuardRequest& request_;
  std::vector<std::string>& unknown_;
  bool once_;
  std::set<std::pair<Kind, std::string>> seen_;
};

}  // namespace parapet::serving

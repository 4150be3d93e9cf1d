// What the guard is asked: parts of one message (texts, images), where it stands, and for whom.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parapet::guard {

// What a model is given, or what it answered.
enum class Side { kInput, kOutput };
// kJoint: a verdict about a text and an image together.
enum class Modality { kText, kImage, kJoint };
std::string_view side_name(Side side);              // input, output
std::string_view modality_name(Modality modality);  // text, image, joint

struct Part {
  enum class Kind {
    kText,         // `content` is UTF-8 text; ill-formed bytes become U+FFFD before it is read
    kImageBytes,   // `content` is an encoded image (JPEG, PNG, WebP, GIF)
    kImageBase64,  // the same in base64
    kImageUrl,     // `content` is a data: URI, or http(s), fetched from allowed hosts only
    kUnread,       // what nothing here reads, e.g. audio: `content` says what it is called
  };
  Kind kind = Kind::kText;
  std::string content;
  std::string
      label;  // how the caller finds it back, e.g. "messages[0].content[1]"; empty = parts[i]

  static Part text(std::string text, std::string label = "") {
    return {Kind::kText, std::move(text), std::move(label)};
  }
  static Part image(std::string bytes, std::string label = "") {
    return {Kind::kImageBytes, std::move(bytes), std::move(label)};
  }
  static Part base64(std::string base64, std::string label = "") {
    return {Kind::kImageBase64, std::move(base64), std::move(label)};
  }
  static Part unread(std::string type, std::string label = "") {
    return {Kind::kUnread, std::move(type), std::move(label)};
  }
  static Part url(std::string url, std::string label = "") {
    return {Kind::kImageUrl, std::move(url), std::move(label)};
  }
  Modality modality() const { return kind == Kind::kText ? Modality::kText : Modality::kImage; }
};

using Clock = std::chrono::steady_clock;

struct GuardRequest {
  std::string id;  // echoed in the decision and the audit log; empty = made up
  // The oldest first. Where limits cut, what is newest is looked at.
  std::vector<Part> parts;
  Side side = Side::kInput;
  std::string
      profile;  // of the policy, e.g. "news"; empty = the tenant's, else the policy's default
  std::string tenant;  // empty = none
  // Work not begun by then is not done; what it would have scanned counts as not scanned.
  std::optional<Clock::time_point> deadline;
  std::map<std::string, std::string> metadata;  // kept in the audit log when the policy says so
  bool modify = true;                           // make changed parts when the decision is `modify`
  int64_t max_parts = 0;  // > 0: no more than these are looked at, whatever the policy takes
  bool explain = false;   // also make saliency pictures (many more forward passes)
};

}  // namespace parapet::guard

// POST /beta/litellm_basic_guardrail_api: block = BLOCKED, modify = GUARDRAIL_INTERVENED with every
// text and image in place, flag and allow = NONE.
#include <nlohmann/json.hpp>

#include "parapet/core/strings.h"
#include "parapet/serving/json_body.h"
#include "parapet/serving/routes.h"

namespace parapet::serving {
namespace {

using nlohmann::ordered_json;

// Puts changed parts into `request`'s texts and images, in the form they came in. False when one
// cannot be: an embedding, or the arguments of a tool call, which the reply has no field for.
bool put_back(const guard::Decision& decision, LitellmRequest& request) {
  if (decision.modified.empty()) return false;
  for (const auto& changed : decision.modified) {
    const auto part = static_cast<size_t>(changed.part);
    if (changed.part < 0 || changed.media_type.empty()) return false;
    const size_t image = part - request.texts.size();
    if (part < request.texts.size()) {
      if (changed.media_type != "text/plain") return false;
      request.texts[part] = changed.content;
    } else if (image < request.images.size()) {
      if (changed.media_type == "text/plain") return false;
      std::string& value = request.images[image];
      const bool bare = value.find(':') == std::string::npos;
      value =
          (bare ? "" : "data:" + changed.media_type + ";base64,") + base64_encode(changed.content);
    } else {
      return false;
    }
  }
  return true;
}

ordered_json blocked(const std::string& reason) {
  ordered_json body;
  body["action"] = "BLOCKED";
  body["blocked_reason"] = reason;
  return body;
}

ordered_json reply_body(const guard::Decision& decision, LitellmRequest& request) {
  if (decision.action == guard::Action::kBlock) return blocked(decision.reason);
  ordered_json body;
  body["action"] = "NONE";
  if (decision.action != guard::Action::kModify) return body;
  if (!put_back(decision, request))
    return blocked(decision.reason + " (what must change cannot be changed here)");
  body["action"] = "GUARDRAIL_INTERVENED";
  body["texts"] = request.texts;
  body["images"] = request.images;
  return body;
}

}  // namespace

HttpReply post_litellm(const Call& call) {
  LitellmRequest request =
      read_litellm(parse_body(call.request.body),
                   {.max_parts = static_cast<size_t>(call.service.options().max_parts)});
  complete(call, request.input);
  if (request.input.parts.empty()) {
    call.service.require_profile(request.input);
    ordered_json nothing;
    nothing["action"] = "NONE";
    nothing["parapet"]["unknown_fields"] = request.options.unknown;
    return json_reply(200, nothing);
  }
  const guard::Decision decision =
      call.service.check(call.endpoint, request.input, request.options, call.request.received);
  ordered_json body = reply_body(decision, request);
  ordered_json full = guard::to_json(decision);
  full.erase("modified");      // in texts and images
  full.erase("explanations");  // pictures have no place in a gateway's log
  full["unknown_fields"] = request.options.unknown;
  body["parapet"] = std::move(full);
  return json_reply(200, body);
}

}  // namespace parapet::serving

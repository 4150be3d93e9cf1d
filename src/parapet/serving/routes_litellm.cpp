// POST /beta/litellm_basic_guardrail_api: block = BLOCKED, modify = GUARDRAIL_INTERVENED with every
// text and image in place, flag and allow = NONE.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "parapet/core/strings.h"
#include "parapet/serving/json_body.h"
#include "parapet/serving/routes.h"

namespace parapet::serving {
namespace {

using nlohmann::ordered_json;

// Where a part stands in what was sent, if it can be sent back.
std::string* place_of(LitellmRequest& request, int part, bool text) {
  const auto& parts = text ? request.text_parts : request.image_parts;
  const auto found = std::find(parts.begin(), parts.end(), part);
  if (found == parts.end()) return nullptr;
  auto& sent = text ? request.texts : request.images;
  return &sent[static_cast<size_t>(found - parts.begin())];
}

// Puts changed parts into `request`'s texts and images, in the form they came in. False when one
// cannot be: an embedding, a tool call or what else the reply has no field for.
bool put_back(const guard::Decision& decision, LitellmRequest& request) {
  if (decision.modified.empty()) return false;
  for (const auto& changed : decision.modified) {
    if (changed.media_type.empty()) return false;
    const bool text = changed.media_type == "text/plain";
    std::string* value = place_of(request, changed.part, text);
    if (value == nullptr) return false;
    const bool bare = value->find(':') == std::string::npos;
    *value = text ? changed.content
                  : (bare ? "" : "data:" + changed.media_type + ";base64,") +
                        base64_encode(changed.content);
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
  LitellmRequest request = read_litellm(parse_body(call.request.body));
  const GuardService::Held held = call.service.hold();
  complete(call, held.policy(), request.input);
  request.input.max_parts = call.service.options().max_parts;
  if (request.input.parts.empty()) {
    held.require_profile(request.input);
    ordered_json nothing;
    nothing["action"] = "NONE";
    nothing["parapet"]["unknown_fields"] = request.options.unknown;
    return json_reply(200, nothing);
  }
  const guard::Decision decision = call.service.answer(held, call.endpoint, request.input,
                                                       request.options, call.request.received);
  ordered_json body = reply_body(decision, request);
  ordered_json full = guard::to_json(decision);
  full.erase("modified");      // in texts and images
  full.erase("explanations");  // pictures have no place in a gateway's log
  full["unknown_fields"] = request.options.unknown;
  body["parapet"] = std::move(full);
  return json_reply(200, body);
}

}  // namespace parapet::serving

// POST /v1/guard: the decision itself.
#include <nlohmann/json.hpp>

#include "parapet/serving/json_body.h"
#include "parapet/serving/routes.h"

namespace parapet::serving {

HttpReply post_guard(const Call& call) {
  OwnRequest request =
      read_guard_request(parse_body(call.request.body),
                         {.max_parts = static_cast<size_t>(call.service.options().max_parts)});
  const GuardService::Held held = call.service.hold();
  complete(call, held.policy(), request.input);
  const guard::Decision decision = call.service.answer(
      held, call.endpoint, std::move(request.input), request.options, call.request.received);
  nlohmann::ordered_json body = guard::to_json(decision);
  body["unknown_fields"] = request.options.unknown;
  return json_reply(200, body);
}

}  // namespace parapet::serving

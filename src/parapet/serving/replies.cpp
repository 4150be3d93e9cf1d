#include <nlohmann/json.hpp>

#include "parapet/serving/routes.h"

namespace parapet::serving {
namespace {

const char* error_type(int status) {
  if (status == 401) return "authentication_error";
  if (status == 403) return "permission_error";
  if (status == 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

}  // namespace

HttpReply json_reply(int status, const nlohmann::ordered_json& value) {
  HttpReply reply;
  reply.status = status;
  // Texts of a client come back only as field names, rule details and the like; whatever they hold,
  // the reply is JSON.
  reply.body = value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return reply;
}

HttpReply error_reply(int status, std::string_view code, std::string_view message,
                      std::string_view param) {
  nlohmann::ordered_json error = {{"message", std::string(message)}, {"type", error_type(status)}};
  error["param"] = nullptr;
  if (!param.empty()) error["param"] = std::string(param);
  error["code"] = std::string(code);
  nlohmann::ordered_json body;
  body["error"] = std::move(error);
  return json_reply(status, body);
}

void complete(const Call& call, const guard::Policy& policy, guard::GuardRequest& request) {
  if (request.id.empty()) request.id = call.id;
  const std::string& tenant = call.request.tenant;
  if (tenant.empty()) return;
  request.tenant = tenant;
  // Whose profile the policy fixes does not choose a laxer one.
  if (policy.tenants.contains(tenant)) request.profile.clear();
}

nlohmann::ordered_json to_json(const PolicyIdentity& policy) {
  nlohmann::ordered_json value;
  value["name"] = policy.name;
  value["version"] = policy.version;
  value["hash"] = policy.hash;
  return value;
}

}  // namespace parapet::serving

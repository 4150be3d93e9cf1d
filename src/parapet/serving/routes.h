// Internal: the routes. One source per API; router.cpp lists them.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "parapet/serving/guard_service.h"
#include "parapet/serving/http.h"
#include "parapet/serving/http_server.h"
#include "parapet/serving/worker_pool.h"

namespace parapet::serving {

// What a route is called with.
struct Call {
  const HttpRequest& request;
  const std::string& endpoint;
  std::string id;  // of the request, for logs and x-request-id
  GuardService& service;
  WorkerPool& workers;
  std::vector<Gauge> gauges = {};  // of the server, for /metrics
  double stalled_seconds = 0;      // workers busy with nothing done, for /healthz
};

// Compute: in a worker.
HttpReply post_moderations(const Call& call);
HttpReply post_guard(const Call& call);
HttpReply post_litellm(const Call& call);
HttpReply post_reload(const Call& call);
// At once: on the I/O thread.
HttpReply get_health(const Call& call);
HttpReply get_ready(const Call& call);
HttpReply get_metrics(const Call& call);
HttpReply get_openapi(const Call& call);
HttpReply get_page(const Call& call);

HttpReply json_reply(int status, const nlohmann::ordered_json& value);
// {"error": {"message", "type", "param", "code"}}
HttpReply error_reply(int status, std::string_view code, std::string_view message,
                      std::string_view param = "");
// The caller's id and tenant, where the request names none.
void complete(const Call& call, const guard::Policy& policy, guard::GuardRequest& request);
// {"name", "version", "hash"}
nlohmann::ordered_json to_json(const PolicyIdentity& policy);

}  // namespace parapet::serving

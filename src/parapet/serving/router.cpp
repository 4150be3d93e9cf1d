#include "parapet/serving/router.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <new>
#include <random>

#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/serving/api_error.h"
#include "parapet/serving/routes.h"

namespace parapet::serving {

struct Route {
  enum class Where { kAtOnce, kWorker, kReload };
  std::string method, path;
  Where where = Where::kAtOnce;
  bool open = false;  // needs no API key
  HttpReply (*call)(const Call&) = nullptr;
};

namespace {

using Where = Route::Where;

const std::string kOther = "other";  // metrics: paths that do not exist

std::vector<Route> all_routes() {
  return {
      {"POST", "/v1/moderations", Where::kWorker, false, post_moderations},
      {"POST", "/v1/guard", Where::kWorker, false, post_guard},
      {"POST", "/beta/litellm_basic_guardrail_api", Where::kWorker, false, post_litellm},
      {"POST", "/v1/policy/reload", Where::kReload, false, post_reload},
      {"GET", "/healthz", Where::kAtOnce, true, get_health},
      {"GET", "/readyz", Where::kAtOnce, true, get_ready},
      {"GET", "/metrics", Where::kAtOnce, false, get_metrics},
      {"GET", "/openapi.json", Where::kAtOnce, true, get_openapi},
      {"GET", "/", Where::kAtOnce, true, get_page},
  };
}

const Route* find_route(const std::vector<Route>& routes, const std::string& path) {
  for (const Route& route : routes)
    if (route.path == path) return &route;
  return nullptr;
}

bool allows(const Route& route, const std::string& method) {
  return method == route.method || (method == "HEAD" && route.method == "GET");
}

// "Authorization: Bearer KEY", or the x-api-key that LiteLLM sends.
std::string_view presented_key(const HttpRequest& request) {
  const std::string_view value = request.header("authorization");
  if (value.size() > 7 && to_lower_ascii(value.substr(0, 7)) == "bearer ")
    return trim(value.substr(7));
  return trim(request.header("x-api-key"));
}

// A page of another site in a user's browser can send requests here, but not without its origin.
bool foreign_origin(const HttpRequest& request) {
  const std::string_view origin = request.header("origin");
  if (origin.empty()) return false;
  const size_t slashes = origin.find("://");
  return slashes == std::string_view::npos || origin.substr(slashes + 3) != request.header("host");
}

bool is_json(const HttpRequest& request) {
  const std::string_view type = request.header("content-type");
  return to_lower_ascii(trim(type.substr(0, type.find(';')))) == "application/json";
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

Router::Router(GuardService& service)
    : service_(service),
      routes_(all_routes()),
      keys_(std::make_shared<const ApiKeys>()),
      workers_(service.options().worker_count(), service.options().queue),
      reloads_(1, 4),
      id_base_((uint64_t{std::random_device{}()} << 32) | std::random_device{}()) {
  reload_keys();
}

Router::~Router() { stop(); }

void Router::reload_keys() {
  const std::string& file = service_.options().api_keys;
  if (!file.empty()) keys_.store(std::make_shared<const ApiKeys>(ApiKeys::load(file)));
}

void Router::stop() {
  workers_.stop();
  reloads_.stop();
}

HttpReply Router::failure(int status, std::string_view message) {
  service_.metrics().request(kOther, status, -1);
  const char* code = status == 413   ? "too_large"
                     : status == 431 ? "header_too_large"
                     : status == 503 ? "overloaded"
                                     : "bad_request";
  return error_reply(status, code, message);
}

HttpReply Router::busy() {
  service_.metrics().refused("queue_full");
  const double wait = work_seconds_ * static_cast<double>(workers_.waiting()) /
                      static_cast<double>(workers_.threads());
  HttpReply reply = error_reply(429, "queue_full", "too many requests are waiting; try later");
  const auto seconds = static_cast<int64_t>(std::clamp(std::ceil(wait), 1.0, 30.0));
  reply.headers.emplace_back("Retry-After", std::to_string(seconds));
  return reply;
}

std::optional<HttpReply> Router::refuse(HttpRequest& head) {
  const Route* route = find_route(routes_, head.path);
  const auto refused = [&](HttpReply reply) {
    service_.metrics().request(route != nullptr ? route->path : kOther, reply.status, -1);
    return reply;
  };
  if (route == nullptr)
    return refused(error_reply(404, "not_found", "there is no such path; see /openapi.json"));
  if (!allows(*route, head.method)) {
    HttpReply reply = error_reply(405, "method_not_allowed", "this path takes " + route->method);
    reply.headers.emplace_back("Allow", route->method == "GET" ? "GET, HEAD" : route->method);
    return refused(std::move(reply));
  }
  const std::shared_ptr<const ApiKeys> keys = keys_.load();
  const ApiKey* key = keys->find(presented_key(head));
  if (key != nullptr) head.tenant = key->tenant;
  if (!route->open && !keys->empty() && key == nullptr) {
    HttpReply reply = error_reply(401, "invalid_api_key",
                                  "an API key is needed: Authorization: Bearer KEY, or x-api-key");
    reply.headers.emplace_back("WWW-Authenticate", "Bearer");
    return refused(std::move(reply));
  }
  if (route->method != "POST") return std::nullopt;
  if (foreign_origin(head))
    return refused(error_reply(403, "foreign_origin", "requests of other sites are not served"));
  if (route->where == Where::kWorker && !is_json(head))
    return refused(
        error_reply(415, "unsupported_media_type", "Content-Type must be application/json"));
  if (draining_) return refused(error_reply(503, "overloaded", "shutting down"));
  // Before a large body is read for nothing.
  if (route->where == Where::kWorker && workers_.waiting() >= service_.options().queue &&
      workers_.running() >= workers_.threads())
    return refused(busy());
  return std::nullopt;
}

std::string Router::request_id(const HttpRequest& request) {
  const std::string_view given = request.header("x-request-id");
  const bool good = !given.empty() && given.size() <= 64 &&
                    std::all_of(given.begin(), given.end(), [](unsigned char c) {
                      return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
                    });
  if (good) return std::string(given);
  char text[24];
  std::snprintf(text, sizeof text, "%016llx",
                static_cast<unsigned long long>(id_base_ + id_next_++ * 0x9E3779B97F4A7C15ull));
  return text;
}

void Router::handle(HttpRequest request, Respond respond) {
  const Route& route = *find_route(routes_, request.path);
  const std::string id = request_id(request);
  if (route.where == Where::kAtOnce) return work(route, std::move(request), id, respond);
  WorkerPool& pool = route.where == Where::kReload ? reloads_ : workers_;
  // std::function wants to be copied; the request is not.
  auto shared = std::make_shared<HttpRequest>(std::move(request));
  const bool taken = pool.submit(
      [this, &route, shared, id, respond] { work(route, std::move(*shared), id, respond); });
  if (taken) return;
  HttpReply reply = busy();
  service_.metrics().request(route.path, reply.status, -1);
  respond(std::move(reply));
}

void Router::work(const Route& route, HttpRequest request, const std::string& id,
                  const Respond& respond) {
  const auto start = Clock::now();
  HttpReply reply;
  const double deadline = service_.options().deadline_ms / 1000;
  const double waited = seconds_since(request.received);
  if (route.where == Where::kWorker) service_.metrics().stage("queue", waited);
  if (route.where == Where::kWorker && deadline > 0 && waited >= deadline) {
    service_.metrics().refused("expired");
    reply = error_reply(503, "deadline_exceeded", "the request waited longer than its deadline");
    reply.headers.emplace_back("Retry-After", "1");
  } else {
    reply = run(route, request, id);
  }
  if (route.where == Where::kWorker)
    work_seconds_ = 0.9 * work_seconds_ + 0.1 * seconds_since(start);
  reply.headers.emplace_back("X-Request-Id", id);
  const double total = seconds_since(request.received);
  service_.metrics().request(route.path, reply.status, total);
  if (service_.options().access_log)
    service_.context().info(request.method + " " + route.path + " " + std::to_string(reply.status) +
                            " " + format_number(total * 1000, 1) + " ms " + id);
  respond(std::move(reply));
}

// Every exception becomes a reply here.
HttpReply Router::run(const Route& route, const HttpRequest& request, const std::string& id) {
  Call call{request, route.path, id, service_, workers_};
  call.stalled_seconds = workers_.stalled_seconds();
  if (route.where == Where::kAtOnce) call.gauges = gauges();
  try {
    return route.call(call);
  } catch (const ApiError& error) {
    HttpReply reply = error_reply(error.status, error.code, error.what(), error.param);
    if (error.status == 503) reply.headers.emplace_back("Retry-After", "1");
    return reply;
  } catch (const std::bad_alloc&) {
    service_.context().log(LogLevel::kError, route.path + " " + id + ": out of memory");
    return error_reply(503, "overloaded", "out of memory; try later");
  } catch (const std::exception& error) {
    service_.context().log(LogLevel::kError, route.path + " " + id + ": " + error.what());
  } catch (...) {
    service_.context().log(LogLevel::kError, route.path + " " + id + ": unknown exception");
  }
  return error_reply(500, "internal_error", "internal error; the server's log has request " + id);
}

std::vector<Gauge> Router::gauges() const {
  std::vector<Gauge> result;
  const auto add = [&](const char* name, const char* help, const char* type, int64_t value) {
    result.push_back({name, help, type, "", static_cast<double>(value)});
  };
  add("parapet_queue_depth", "Requests that wait for a worker.", "gauge", workers_.waiting());
  add("parapet_requests_running", "Requests that workers are at.", "gauge", workers_.running());
  add("parapet_workers", "Workers.", "gauge", workers_.threads());
  if (server_ == nullptr) return result;
  const HttpStats stats = server_->stats();
  add("parapet_connections", "Open connections.", "gauge", stats.connections);
  add("parapet_connections_accepted_total", "Connections since the start.", "counter",
      stats.accepted);
  add("parapet_connections_evicted_total", "Idle connections closed to make room.", "counter",
      stats.evicted);
  add("parapet_connections_timed_out_total", "Connections that were too slow.", "counter",
      stats.timed_out);
  add("parapet_buffered_bytes", "Request bodies in memory.", "gauge", stats.buffered_bytes);
  return result;
}

}  // namespace parapet::serving

// From requests to routes: who may call, what runs where, and what is refused early.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "parapet/core/swapped.h"
#include "parapet/serving/api_keys.h"
#include "parapet/serving/guard_service.h"
#include "parapet/serving/http.h"
#include "parapet/serving/http_server.h"
#include "parapet/serving/worker_pool.h"

namespace parapet::serving {

struct Route;

class Router final : public HttpHandler {
 public:
  // UsageError when the file of API keys is bad.
  explicit Router(GuardService& service);
  ~Router() override;

  std::optional<HttpReply> refuse(HttpRequest& head) override;
  void handle(HttpRequest request, Respond respond) override;
  HttpReply failure(int status, std::string_view message) override;

  // Reads the keys again; the old ones stay when the file is bad (UsageError).
  void reload_keys();
  // For /metrics.
  void set_server(const HttpServer* server) { server_ = server; }
  // Refuses new work with 503 from now on.
  void begin_drain() { draining_ = true; }
  // Waits for what workers are at; nothing is answered afterwards.
  void stop();

 private:
  std::string request_id(const HttpRequest& request);
  std::vector<Gauge> gauges() const;
  HttpReply run(const Route& route, const HttpRequest& request, const std::string& id);
  void work(const Route& route, HttpRequest request, const std::string& id, const Respond& respond);
  HttpReply busy();

  GuardService& service_;
  std::vector<Route> routes_;
  Swapped<const ApiKeys> keys_;
  WorkerPool workers_;
  WorkerPool reloads_;
  const HttpServer* server_ = nullptr;
  std::atomic<bool> draining_{false};
  std::atomic<double> work_seconds_{0.02};  // of a request, lately
  uint64_t id_base_;
  std::atomic<uint64_t> id_next_{0};
};

}  // namespace parapet::serving

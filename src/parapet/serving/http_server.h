// An event-driven HTTP/1.1 server: one I/O thread holds every connection, so that slow, idle and
// half-open clients cost memory only. Nothing here knows what is served.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "parapet/core/context.h"
#include "parapet/serving/http.h"
#include "parapet/serving/http_options.h"

namespace parapet::serving {

struct HttpStats {
  int64_t connections = 0;
  int64_t accepted = 0;        // since the start
  int64_t evicted = 0;         // idle ones closed to make room
  int64_t timed_out = 0;       // too slow
  int64_t buffered_bytes = 0;  // of request bodies
};

class HttpServer {
 public:
  // Binds and listens. UsageError when the address is wrong or taken. `handler` outlives the
  // server, and calls no Respond after the server is gone.
  HttpServer(const HttpOptions& options, HttpHandler& handler, const Context& context);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  void start();
  uint16_t port() const;
  std::string url() const;  // "http://127.0.0.1:8080"
  HttpStats stats() const;  // thread-safe

  // Takes no more connections, answers what is under way, closes the rest. False when something
  // was still under way after `seconds`. Call once; the server is stopped when it returns.
  bool drain(double seconds);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace parapet::serving

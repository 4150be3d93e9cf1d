// An event-driven HTTP/1.1 server: one I/O thread holds every connection, so that slow, idle and
// half-open clients cost memory only. Nothing here knows what is served.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "parapet/core/context.h"
#include "parapet/core/options.h"
#include "parapet/serving/http.h"

namespace parapet::serving {

struct HttpOptions {
  std::string listen = "127.0.0.1:8080";  // address:port; port 0 = any free one
  int64_t max_connections = 4096;
  int64_t max_header_bytes = 16 << 10;
  int64_t max_body_mb = 64;       // of one request
  int64_t max_buffered_mb = 512;  // of all requests in flight together
  double header_seconds = 10;     // from the first byte of a request to the end of its header
  double body_seconds = 60;       // from there to the end of its body
  double idle_seconds = 75;       // between requests of one connection
  double write_seconds = 60;      // for a client to take its reply
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

struct ListenAddress {
  std::string address;  // an IP address, without brackets
  uint16_t port = 0;
  bool loopback = false;
};
// "127.0.0.1:8080", "[::1]:8080", "localhost:8080". UsageError otherwise: no names are looked up.
ListenAddress parse_listen(const std::string& text);

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

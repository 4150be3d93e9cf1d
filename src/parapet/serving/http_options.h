// Where the server listens, and its limits.
#pragma once
#include <cstdint>
#include <string>

#include "parapet/core/options.h"

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

}  // namespace parapet::serving

// HTTP without its transport: what a handler is given and what it answers.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parapet::serving {

using Clock = std::chrono::steady_clock;

struct HttpRequest {
  std::string method;  // as sent, e.g. "POST"
  std::string path;    // up to '?', as sent
  std::string query;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case, in order
  std::string body;
  std::string tenant;          // of its API key, as the handler found it in refuse(); empty = none
  Clock::time_point received;  // when the last byte was read

  // Empty when there is none; the first of several.
  std::string_view header(std::string_view lower_case_name) const;
};

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

// May be called from any thread, once.
using Respond = std::function<void(HttpReply)>;

// What the server asks of the program. Every call comes from the I/O thread and must not block.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // Sees the header before the body is read: a reply refuses the request unread. Who calls is found
  // out here, once, and noted in `head`: keys may be others when handle() comes.
  virtual std::optional<HttpReply> refuse(HttpRequest& head) = 0;
  virtual void handle(HttpRequest request, Respond respond) = 0;
  // The reply to what is not a request (400, 413, 431) or does not fit now (503).
  virtual HttpReply failure(int status, std::string_view message) = 0;
};

// "Not Found" for 404; empty for codes that are not in use here.
std::string_view status_text(int status);

}  // namespace parapet::serving

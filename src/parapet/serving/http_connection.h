// Internal: one connection of the server. Heavy Boost headers; include in the two server sources
// only.
#pragma once
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parapet/serving/http.h"
#include "parapet/serving/http_options.h"

namespace parapet::serving {

namespace net = boost::asio;
namespace beast = boost::beast;

struct HttpCounters {
  std::atomic<int64_t> connections{0}, accepted{0}, evicted{0}, timed_out{0}, buffered{0};
};

class HttpConnection;

// What a connection needs of its server; everything but the counters belongs to the I/O thread.
struct HttpHost {
  const HttpOptions& options;
  HttpHandler& handler;
  HttpCounters& counters;
  bool draining = false;
  std::function<void(HttpConnection&)> closed;
};

class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(net::ip::tcp::socket socket, HttpHost& host);
  ~HttpConnection();
  void start();
  // Waits for a request or its header: may be closed without harm to anybody.
  bool idle() const { return state_ == State::kIdle || state_ == State::kHeader; }
  bool sending_body() const { return state_ == State::kBody; }
  Clock::time_point since() const { return since_; }
  void close();

 private:
  enum class State { kIdle, kHeader, kBody, kHandler, kWriting, kLingering, kClosed };
  using Parser = beast::http::request_parser<beast::http::buffer_body>;

  void enter(State state, double seconds);
  void wait_for_request();
  void read_header();
  void on_header(beast::error_code error);
  void take_head();
  void start_body();
  void read_body();
  void on_body(beast::error_code error);
  bool keep(size_t bytes);
  void dispatch();
  void fail(beast::error_code error);
  void reply(HttpReply reply, bool close_after);
  void on_written(beast::error_code error, bool close_after);
  void linger();
  void discard(int64_t left);
  void release();

  beast::tcp_stream stream_;
  HttpHost& host_;
  State state_ = State::kIdle;
  Clock::time_point since_ = Clock::now();
  beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::vector<char> chunk_;
  HttpRequest request_;
  bool head_only_ = false;   // HEAD
  bool body_unread_ = true;  // the client may still be sending
  int64_t held_ = 0;         // bytes counted in HttpCounters::buffered
  std::string head_, body_;  // of the reply
};

}  // namespace parapet::serving

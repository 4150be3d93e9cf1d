#include "parapet/serving/http_connection.h"

#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <ctime>

#include "parapet/core/strings.h"

namespace parapet::serving {

namespace http = beast::http;

namespace {

constexpr size_t kChunk = 64 << 10;
constexpr int64_t kDiscard = int64_t{64} << 20;  // of a refused body, before giving up
constexpr double kLingerSeconds = 5;

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[40];
  std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return text;
}

std::string reply_head(const HttpReply& reply, bool close_after, unsigned version) {
  std::string head = "HTTP/1.1 " + std::to_string(reply.status) + " ";
  head += status_text(reply.status);
  head += "\r\nServer: parapet\r\nDate: " + http_date();
  head += "\r\nContent-Type: " + reply.content_type;
  head += "\r\nContent-Length: " + std::to_string(reply.body.size());
  head += "\r\nX-Content-Type-Options: nosniff";
  for (const auto& [name, value] : reply.headers) head += "\r\n" + name + ": " + value;
  if (close_after)
    head += "\r\nConnection: close";
  else if (version < 11)
    head += "\r\nConnection: keep-alive";
  return head + "\r\n\r\n";
}

}  // namespace

HttpConnection::HttpConnection(net::ip::tcp::socket socket, HttpHost& host)
    : stream_(std::move(socket)),
      host_(host),
      buffer_(static_cast<size_t>(host.options.max_header_bytes) + kChunk) {
  ++host_.counters.connections;
  ++host_.counters.accepted;
}

HttpConnection::~HttpConnection() {
  release();
  --host_.counters.connections;
}

void HttpConnection::start() {
  beast::error_code ignored;
  stream_.socket().set_option(net::ip::tcp::no_delay(true), ignored);
  // A client that connects and says nothing gets no longer than one that says it slowly.
  enter(State::kIdle, host_.options.header_seconds);
  wait_for_request();
}

void HttpConnection::close() {
  if (state_ == State::kClosed) return;
  const auto self = shared_from_this();  // `closed` drops the server's own reference
  state_ = State::kClosed;
  beast::error_code ignored;
  stream_.socket().shutdown(net::ip::tcp::socket::shutdown_both, ignored);
  stream_.socket().close(ignored);
  host_.closed(*this);
}

void HttpConnection::enter(State state, double seconds) {
  state_ = state;
  since_ = Clock::now();
  if (seconds > 0)
    stream_.expires_after(milliseconds(seconds));
  else
    stream_.expires_never();
}

// Bytes of a body stay counted until its reply is written.
void HttpConnection::release() {
  host_.counters.buffered -= held_;
  held_ = 0;
}

void HttpConnection::wait_for_request() {
  if (buffer_.size() > 0) return read_header();
  stream_.async_read_some(buffer_.prepare(4096),
                          [self = shared_from_this()](beast::error_code error, size_t bytes) {
                            if (error) return self->fail(error);
                            self->buffer_.commit(bytes);
                            self->read_header();
                          });
}

void HttpConnection::read_header() {
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(host_.options.max_header_bytes));
  parser_->body_limit(static_cast<uint64_t>(host_.options.max_body_mb) << 20);
  body_unread_ = true;
  head_only_ = false;
  enter(State::kHeader, host_.options.header_seconds);
  http::async_read_header(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](beast::error_code error, size_t) { self->on_header(error); });
}

void HttpConnection::on_header(beast::error_code error) {
  if (error) return fail(error);
  take_head();
  if (request_.path.empty() || request_.path[0] != '/')
    return reply(host_.handler.failure(400, "the request target must be a path"), true);
  const auto length = parser_->content_length();
  const bool no_body = parser_->is_done() || (length && *length == 0);
  if (auto refused = host_.handler.refuse(request_)) {
    body_unread_ = !no_body;
    return reply(std::move(*refused), !no_body);
  }
  if (!no_body && beast::iequals(parser_->get()[http::field::expect], "100-continue")) {
    static const std::string kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    net::async_write(stream_, net::buffer(kContinue),
                     [self = shared_from_this()](beast::error_code failed, size_t) {
                       if (failed) return self->fail(failed);
                       self->start_body();
                     });
    return;
  }
  start_body();
}

void HttpConnection::take_head() {
  const auto& message = parser_->get();
  request_ = {};
  request_.method = std::string(message.method_string());
  head_only_ = request_.method == "HEAD";
  const std::string target(message.target());
  const size_t question = target.find('?');
  request_.path = target.substr(0, question);
  if (question != std::string::npos) request_.query = target.substr(question + 1);
  for (const auto& field : message)
    request_.headers.emplace_back(to_lower_ascii(std::string(field.name_string())),
                                  std::string(field.value()));
}

void HttpConnection::start_body() {
  enter(State::kBody, host_.options.body_seconds);
  // What the client announces is no reason to allocate it.
  const auto length = parser_->content_length();
  if (length) request_.body.reserve(std::min<uint64_t>(*length, 1 << 20));
  if (parser_->is_done()) return dispatch();
  chunk_.resize(kChunk);
  read_body();
}

void HttpConnection::read_body() {
  auto& body = parser_->get().body();
  body.data = chunk_.data();
  body.size = chunk_.size();
  http::async_read_some(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](beast::error_code error, size_t) { self->on_body(error); });
}

void HttpConnection::on_body(beast::error_code error) {
  if (error == http::error::need_buffer) error = {};
  if (error) return fail(error);
  const size_t bytes = chunk_.size() - parser_->get().body().size;
  if (!keep(bytes)) {
    HttpReply busy = host_.handler.failure(503, "too much request data is under way; try later");
    busy.headers.emplace_back("Retry-After", "1");
    return reply(std::move(busy), true);
  }
  if (parser_->is_done()) return dispatch();
  read_body();
}

// False when all bodies together are too large.
bool HttpConnection::keep(size_t bytes) {
  const auto count = static_cast<int64_t>(bytes);
  const int64_t total = host_.counters.buffered += count;
  held_ += count;
  if (total > host_.options.max_buffered_mb << 20) return false;
  try {
    request_.body.append(chunk_.data(), bytes);
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

void HttpConnection::dispatch() {
  chunk_ = {};
  body_unread_ = false;
  enter(State::kHandler, 0);
  request_.received = Clock::now();
  auto respond = [self = shared_from_this()](HttpReply answer) {
    net::post(self->stream_.get_executor(), [self, answer = std::move(answer)]() mutable {
      self->reply(std::move(answer), !self->parser_->keep_alive());
    });
  };
  host_.handler.handle(std::move(request_), std::move(respond));
}

// What ended a read: the client, the clock, or bytes that are no request.
void HttpConnection::fail(beast::error_code error) {
  if (state_ == State::kClosed) return;
  if (error == beast::error::timeout) ++host_.counters.timed_out;
  const bool ours =
      error.category() == http::make_error_code(http::error::end_of_stream).category();
  if (!ours || error == http::error::end_of_stream || error == http::error::partial_message)
    return close();
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return reply(host_.handler.failure(431, "the header is larger than " +
                                                format_bytes(host_.options.max_header_bytes)),
                 true);
  }
  if (error == http::error::body_limit) {
    return reply(host_.handler.failure(413, "the body is larger than " +
                                                std::to_string(host_.options.max_body_mb) + " MiB"),
                 true);
  }
  reply(host_.handler.failure(400, "not an HTTP/1.1 request: " + error.message()), true);
}

void HttpConnection::reply(HttpReply answer, bool close_after) {
  if (state_ == State::kClosed) return;
  close_after = close_after || host_.draining;
  head_ = reply_head(answer, close_after, parser_ ? parser_->get().version() : 11);
  body_ = head_only_ ? std::string() : std::move(answer.body);
  enter(State::kWriting, host_.options.write_seconds);
  const std::array<net::const_buffer, 2> buffers = {net::buffer(head_), net::buffer(body_)};
  net::async_write(stream_, buffers,
                   [self = shared_from_this(), close_after](beast::error_code error, size_t) {
                     self->on_written(error, close_after);
                   });
}

void HttpConnection::on_written(beast::error_code error, bool close_after) {
  if (error) {
    if (error == beast::error::timeout) ++host_.counters.timed_out;
    return close();
  }
  release();
  head_ = {};
  body_ = {};
  request_ = {};
  if (close_after || host_.draining) return body_unread_ ? linger() : close();
  parser_.reset();
  if (buffer_.size() == 0) buffer_.shrink_to_fit();
  enter(State::kIdle, host_.options.idle_seconds);
  wait_for_request();
}

// Closing while the client still sends would reset the connection and lose our reply on its way.
void HttpConnection::linger() {
  enter(State::kLingering, kLingerSeconds);
  beast::error_code ignored;
  stream_.socket().shutdown(net::ip::tcp::socket::shutdown_send, ignored);
  chunk_.resize(kChunk);
  discard(kDiscard);
}

void HttpConnection::discard(int64_t left) {
  stream_.async_read_some(net::buffer(chunk_),
                          [self = shared_from_this(), left](beast::error_code error, size_t bytes) {
                            const int64_t rest = left - static_cast<int64_t>(bytes);
                            if (error || rest <= 0) return self->close();
                            self->discard(rest);
                          });
}

}  // namespace parapet::serving

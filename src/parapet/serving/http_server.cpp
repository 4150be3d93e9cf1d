#include "parapet/serving/http_server.h"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "parapet/core/error.h"
#include "parapet/serving/http_connection.h"

namespace parapet::serving {

void HttpOptions::visit(OptionList& list) {
  list.add("listen", listen, "address:port; port 0 = any free one, printed at the start");
  list.add("max-connections", max_connections, "connections; past it the longest idle one goes");
  list.add("max-header-bytes", max_header_bytes, "of one request's header; more is answered 431");
  list.add("max-body-mb", max_body_mb, "MiB of one request's body; more is answered 413");
  list.add("max-buffered-mb", max_buffered_mb,
           "MiB of all request bodies in memory; more is answered 503");
  list.add("header-seconds", header_seconds, "time for a client to send a header");
  list.add("body-seconds", body_seconds, "time for a client to send a body");
  list.add("idle-seconds", idle_seconds, "time a connection may rest between requests");
  list.add("write-seconds", write_seconds, "time for a client to take its reply");
}

void HttpOptions::validate(Problems& problems) const {
  const auto in = [&](const char* name, auto value, auto low, auto high) {
    problems.require(value >= low && value <= high, std::string("--") + name,
                     "must be in " + std::to_string(low) + ".." + std::to_string(high));
  };
  try {
    parse_listen(listen);
  } catch (const UsageError& error) {
    problems.add(error.what());
  }
  in("max-connections", max_connections, 1, 1'000'000);
  in("max-header-bytes", max_header_bytes, 1024, 1 << 20);
  in("max-body-mb", max_body_mb, 1, 4096);
  in("max-buffered-mb", max_buffered_mb, 1, 1 << 20);
  for (const auto& [name, value] : {std::pair{"header-seconds", header_seconds},
                                    {"body-seconds", body_seconds},
                                    {"idle-seconds", idle_seconds},
                                    {"write-seconds", write_seconds}})
    problems.require(value >= 0.1 && value <= 86400, std::string("--") + name,
                     "must be in 0.1..86400");
}

ListenAddress parse_listen(const std::string& text) {
  const auto fail = [&](const std::string& problem) {
    throw UsageError("--listen: '" + text + "' " + problem +
                     "; write it as 127.0.0.1:8080 or [::1]:8080");
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) fail("has no port");
  ListenAddress result;
  result.address = text.substr(0, colon);
  const std::string port = text.substr(colon + 1);
  if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos)
    fail("has no port in 0..65535");
  const int number = std::stoi(port);
  if (number > 65535) fail("has no port in 0..65535");
  result.port = static_cast<uint16_t>(number);
  if (result.address == "localhost") result.address = "127.0.0.1";
  if (result.address.size() > 2 && result.address.front() == '[' && result.address.back() == ']')
    result.address = result.address.substr(1, result.address.size() - 2);
  else if (result.address.find(':') != std::string::npos)
    fail("needs brackets around its IPv6 address");
  beast::error_code error;
  const auto address = net::ip::make_address(result.address, error);
  if (error) fail("is not an IP address and port");
  result.loopback = address.is_loopback();
  return result;
}

struct HttpServer::Impl {
  Impl(const HttpOptions& given, HttpHandler& handler, const Context& with)
      : options(given),
        context(with),
        acceptor(io),
        pause(io),
        host{options, handler, counters, false, {}} {
    host.closed = [this](HttpConnection& connection) { forget(connection); };
  }

  void bind() {
    const ListenAddress address = parse_listen(options.listen);
    const net::ip::tcp::endpoint endpoint(net::ip::make_address(address.address), address.port);
    beast::error_code error;
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(net::socket_base::reuse_address(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(net::socket_base::max_listen_connections, error);
    if (error)
      throw UsageError("--listen " + options.listen + ": " + error.message() +
                       ". Choose another address or port.");
    port = acceptor.local_endpoint().port();
    url =
        "http://" + options.listen.substr(0, options.listen.rfind(':') + 1) + std::to_string(port);
  }

  void accept() {
    acceptor.async_accept([this](beast::error_code error, net::ip::tcp::socket socket) {
      if (error == net::error::operation_aborted || host.draining) return;
      if (error) return accept_later(error);
      if (!make_room()) return accept();  // drops the new one
      auto connection = std::make_shared<HttpConnection>(std::move(socket), host);
      connections.emplace(connection.get(), connection);
      connection->start();
      accept();
    });
  }

  // Mostly out of file descriptors: existing connections go on, new ones wait in the backlog.
  void accept_later(beast::error_code error) {
    if (!warned) context.warn("cannot accept connections: " + error.message());
    warned = true;
    make_room();
    pause.expires_after(std::chrono::milliseconds(100));
    pause.async_wait([this](beast::error_code stopped) {
      if (!stopped) accept();
    });
  }

  // Idle connections go first, then bodies that take long; requests under way never.
  bool make_room() {
    if (static_cast<int64_t>(connections.size()) < options.max_connections && !warned) return true;
    std::shared_ptr<HttpConnection> idle, slow;
    for (const auto& [key, connection] : connections) {
      if (!connection->idle() && !connection->sending_body()) continue;
      auto& oldest = connection->idle() ? idle : slow;
      if (!oldest || connection->since() < oldest->since()) oldest = connection;
    }
    if (!idle && (!slow || Clock::now() - slow->since() < std::chrono::seconds(2))) return false;
    ++counters.evicted;
    (idle ? idle : slow)->close();
    return true;
  }

  void forget(HttpConnection& connection) {
    connections.erase(&connection);
    warned = false;
    if (connections.empty()) wake_drain();
  }

  void wake_drain() {
    const std::lock_guard lock(mutex);
    empty = host.draining && connections.empty();
    done.notify_all();
  }

  void begin_drain() {
    host.draining = true;
    beast::error_code ignored;
    acceptor.close(ignored);
    std::vector<std::shared_ptr<HttpConnection>> idle;
    for (const auto& [key, connection] : connections)
      if (connection->idle()) idle.push_back(connection);
    for (const auto& connection : idle) connection->close();
    wake_drain();
  }

  void close_all() {
    while (!connections.empty()) {
      const auto connection = connections.begin()->second;
      connection->close();
    }
    io.stop();
  }

  HttpOptions options;
  Context context;
  HttpCounters counters;
  net::io_context io{1};
  net::ip::tcp::acceptor acceptor;
  net::steady_timer pause;
  HttpHost host;
  std::unordered_map<HttpConnection*, std::shared_ptr<HttpConnection>> connections;
  bool warned = false;
  uint16_t port = 0;
  std::string url;
  std::thread thread;
  std::mutex mutex;
  std::condition_variable done;
  bool empty = false;
};

HttpServer::HttpServer(const HttpOptions& options, HttpHandler& handler, const Context& context)
    : impl_(std::make_unique<Impl>(options, handler, context)) {
  impl_->bind();
}

HttpServer::~HttpServer() {
  if (impl_->thread.joinable()) drain(0);
}

void HttpServer::start() {
  impl_->accept();
  impl_->thread = std::thread([this] {
    const auto work = net::make_work_guard(impl_->io);
    for (;;) {
      try {
        impl_->io.run();
        return;
      } catch (const std::exception& error) {
        // One connection's trouble (memory, mostly) must not end the others.
        impl_->context.log(LogLevel::kError, std::string("connection: ") + error.what());
      }
    }
  });
}

uint16_t HttpServer::port() const { return impl_->port; }
std::string HttpServer::url() const { return impl_->url; }

HttpStats HttpServer::stats() const {
  const HttpCounters& counters = impl_->counters;
  return {counters.connections, counters.accepted, counters.evicted, counters.timed_out,
          counters.buffered};
}

bool HttpServer::drain(double seconds) {
  net::post(impl_->io, [this] { impl_->begin_drain(); });
  bool finished;
  {
    std::unique_lock lock(impl_->mutex);
    finished = impl_->done.wait_for(lock, std::chrono::duration<double>(seconds),
                                    [this] { return impl_->empty; });
  }
  net::post(impl_->io, [this] { impl_->close_all(); });
  if (impl_->thread.joinable()) impl_->thread.join();
  return finished;
}

}  // namespace parapet::serving

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

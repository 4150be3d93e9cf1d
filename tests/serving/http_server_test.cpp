#include "parapet/serving/http_server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "parapet/core/error.h"
#include "serving/raw_client.h"

namespace parapet::serving {
namespace {

// Answers at once with what it was sent; "/hold" waits until released.
class Echo final : public HttpHandler {
 public:
  ~Echo() override { join(); }
  void join() {
    for (auto& thread : threads_) thread.join();
    threads_.clear();
  }
  std::optional<HttpReply> refuse(HttpRequest& head) override {
    if (head.path != "/refused") return std::nullopt;
    return HttpReply{.status = 401, .body = "no", .headers = {}};
  }
  void handle(HttpRequest request, Respond respond) override {
    ++handled;
    HttpReply reply;
    reply.content_type = "text/plain";
    reply.body = request.method + " " + request.path + "?" + request.query + " " +
                 std::string(request.header("x-name")) + " " + request.body;
    if (request.path != "/hold") return respond(std::move(reply));
    threads_.emplace_back([this, reply, respond] {
      gate.get_future().wait();
      respond(reply);
    });
  }
  HttpReply failure(int status, std::string_view message) override {
    HttpReply reply;
    reply.status = status;
    reply.body = message;
    return reply;
  }
  std::atomic<int> handled{0};
  std::promise<void> gate;

 private:
  std::vector<std::thread> threads_;
};

struct Server {
  explicit Server(HttpOptions options = {}) {
    options.listen = "127.0.0.1:0";
    server = std::make_unique<HttpServer>(options, echo, Context{});
    server->start();
  }
  Echo echo;
  std::unique_ptr<HttpServer> server;
  uint16_t port() const { return server->port(); }
  // Gives up after 20 s; what follows then says what is wrong.
  void wait_until(const std::function<bool()>& condition) const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition() && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
};

std::string body_of(const std::string& reply) {
  const size_t end = reply.find("\r\n\r\n");
  return end == std::string::npos ? "" : reply.substr(end + 4);
}

int status_of(const std::string& reply) {
  return reply.size() < 12 ? 0 : std::atoi(reply.c_str() + 9);
}

TEST(HttpServer, AnswersSeveralRequestsOnOneConnection) {
  Server server;
  RawClient client(server.port());
  client.send("GET /a?b=c HTTP/1.1\r\nHost: h\r\nX-Name: n\r\n\r\n");
  EXPECT_EQ(body_of(client.read_reply()), "GET /a?b=c n ");
  client.send("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_EQ(body_of(client.read_reply()), "POST /p?  hello");
  EXPECT_EQ(server.server->stats().connections, 1);
}

TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  Server server;
  RawClient client(server.port());
  client.send("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(body_of(client.read_reply()), "GET /1?  ");
  EXPECT_EQ(body_of(client.read_reply()), "GET /2?  ");
}

TEST(HttpServer, ReadsChunkedBodiesAndExpectContinue) {
  Server server;
  RawClient client(server.port());
  client.send(
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n"
      "0\r\n\r\n");
  EXPECT_EQ(body_of(client.read_reply()), "POST /?  abcde");
  client.send(
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n"
      "Connection: close\r\n\r\n");
  const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
  EXPECT_EQ(client.read(go_on.size()), go_on);
  client.send("xyz");
  EXPECT_EQ(body_of(client.read_all()), "POST /?  xyz");
}

TEST(HttpServer, KeepsAndClosesAsTheClientAsks) {
  Server server;
  RawClient close(server.port());
  close.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_NE(close.read_all().find("Connection: close"), std::string::npos);
  RawClient old(server.port());
  old.send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(status_of(old.read_all()), 200);
}

TEST(HttpServer, HeadHasNoBody) {
  Server server;
  RawClient client(server.port());
  client.send("HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const std::string reply = client.read_all();
  EXPECT_EQ(status_of(reply), 200);
  EXPECT_EQ(body_of(reply), "");
  EXPECT_EQ(reply.find("Content-Length: 0"), std::string::npos);
}

TEST(HttpServer, RefusesWhatIsNoRequestAndGoesOn) {
  Server server;
  for (const std::string bad :
       {"garbage\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    RawClient client(server.port());
    client.send(bad);
    EXPECT_EQ(status_of(client.read_all()), 400) << bad;
  }
  RawClient tls(server.port());
  tls.send(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11));
  tls.finish_sending();
  tls.read_all();  // whatever it is, it ends
  RawClient good(server.port());
  good.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(status_of(good.read_reply()), 200);
  EXPECT_EQ(server.echo.handled, 1);
}

TEST(HttpServer, HoldsItsLimits) {
  HttpOptions options;
  options.max_header_bytes = 2048;
  options.max_body_mb = 1;
  Server server(options);
  RawClient long_header(server.port());
  long_header.send("GET / HTTP/1.1\r\nX: " + std::string(100'000, 'a') + "\r\n\r\n");
  EXPECT_EQ(status_of(long_header.read_all()), 431);
  const std::string big(3 << 20, 'b');
  RawClient announced(server.port());
  announced.send("POST / HTTP/1.1\r\nContent-Length: " + std::to_string(big.size()) + "\r\n\r\n" +
                 big);
  EXPECT_EQ(status_of(announced.read_all()), 413);
  RawClient chunked(server.port());
  chunked.send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n300000\r\n" + big +
               "\r\n0\r\n\r\n");
  EXPECT_EQ(status_of(chunked.read_all()), 413);
  RawClient enormous(server.port());
  enormous.send("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n");
  EXPECT_EQ(status_of(enormous.read_all()), 400);
  EXPECT_EQ(server.echo.handled, 0);
}

TEST(HttpServer, RefusesBodiesPastTheSharedBudget) {
  HttpOptions options;
  options.max_body_mb = 8;
  options.max_buffered_mb = 1;
  Server server(options);
  RawClient client(server.port());
  client.send("POST / HTTP/1.1\r\nContent-Length: 4000000\r\n\r\n" + std::string(4'000'000, 'b'));
  EXPECT_EQ(status_of(client.read_all()), 503);
  RawClient small(server.port());
  small.send("POST / HTTP/1.1\r\nContent-Length: 500000\r\n\r\n" + std::string(500'000, 'b'));
  EXPECT_EQ(status_of(small.read_reply()), 200);
}

TEST(HttpServer, RefusesBeforeTheBodyIsReadAndTheReplyArrives) {
  Server server;
  RawClient client(server.port());
  client.send("POST /refused HTTP/1.1\r\nContent-Length: 8000000\r\n\r\n");
  client.send(std::string(8'000'000, 'x'));
  EXPECT_EQ(status_of(client.read_all()), 401);
  EXPECT_EQ(server.echo.handled, 0);
}

TEST(HttpServer, SlowAndHalfOpenClientsAreClosed) {
  HttpOptions options;
  options.header_seconds = options.body_seconds = options.idle_seconds = 1;
  Server server(options);
  RawClient idle(server.port());  // first, or the others' connections cost it its second
  idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(status_of(idle.read_reply()), 200);
  RawClient silent(server.port()), slow_header(server.port()), slow_body(server.port()),
      cut(server.port());
  cut.send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
  cut.finish_sending();
  slow_header.send("GET / HTTP/1.1\r\nHo");
  slow_body.send("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc");
  for (RawClient* client : {&silent, &slow_header, &slow_body, &idle, &cut})
    EXPECT_EQ(client->read_all(), "");
  EXPECT_EQ(server.echo.handled, 1);
  // The client sees the end a moment before the server's own handler has counted it.
  server.wait_until([&] { return server.server->stats().timed_out >= 4; });
  EXPECT_EQ(server.server->stats().timed_out, 4);
}

TEST(HttpServer, TheLongestIdleConnectionMakesRoom) {
  HttpOptions options;
  options.max_connections = 2;
  Server server(options);
  RawClient first(server.port());
  first.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  first.read_reply();
  RawClient second(server.port());
  second.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  second.read_reply();
  RawClient third(server.port());
  third.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(status_of(third.read_reply()), 200);
  EXPECT_EQ(first.read_all(), "");
  second.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(status_of(second.read_reply()), 200);
  EXPECT_EQ(server.server->stats().evicted, 1);
}

TEST(HttpServer, DrainFinishesWhatIsUnderWay) {
  Server server;
  RawClient idle(server.port()), busy(server.port());
  busy.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  while (server.echo.handled == 0) std::this_thread::yield();
  const uint16_t port = server.port();
  auto drained = std::async(std::launch::async, [&] { return server.server->drain(20); });
  EXPECT_EQ(idle.read_all(), "");
  EXPECT_THROW(RawClient{port}, std::runtime_error);
  server.echo.gate.set_value();
  const std::string reply = busy.read_all();
  EXPECT_EQ(status_of(reply), 200);
  EXPECT_NE(reply.find("Connection: close"), std::string::npos);
  EXPECT_TRUE(drained.get());
}

TEST(HttpServer, DrainGivesUpInTime) {
  Server server;
  RawClient busy(server.port());
  busy.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  while (server.echo.handled == 0) std::this_thread::yield();
  EXPECT_FALSE(server.server->drain(0.1));
  EXPECT_EQ(busy.read_all(), "");
  server.echo.gate.set_value();
  server.echo.join();
}

TEST(HttpServer, TakenPortsAndBadAddressesAreNamed) {
  Server server;
  HttpOptions options;
  options.listen = "127.0.0.1:" + std::to_string(server.port());
  Echo echo;
  EXPECT_THROW(HttpServer(options, echo, Context{}), UsageError);
  for (const char* bad : {"8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "example.org:80",
                          "::1:80", "127.0.0.1:-1", ""})
    EXPECT_THROW(parse_listen(bad), UsageError) << bad;
  EXPECT_TRUE(parse_listen("localhost:1").loopback);
  EXPECT_TRUE(parse_listen("[::1]:1").loopback);
  EXPECT_FALSE(parse_listen("0.0.0.0:1").loopback);
  EXPECT_FALSE(parse_listen("[::]:1").loopback);
}

}  // namespace
}  // namespace parapet::serving

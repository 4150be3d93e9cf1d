#include "parapet/guard/fetch.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "parapet/guard/address.h"

namespace parapet::guard {
namespace {

TEST(Address, OnlyPublicOnes) {
  for (const char* address : {"127.0.0.1",
                              "127.9.9.9",
                              "10.1.2.3",
                              "172.16.0.1",
                              "172.31.255.255",
                              "192.168.1.1",
                              "169.254.169.254",
                              "100.64.0.1",
                              "0.0.0.0",
                              "224.0.0.1",
                              "255.255.255.255",
                              "192.0.2.7",
                              "198.18.0.1",
                              "::1",
                              "::",
                              "fe80::1",
                              "fc00::1",
                              "fd12::1",
                              "ff02::1",
                              "::ffff:127.0.0.1",
                              "::ffff:10.0.0.1",
                              "::127.0.0.1",
                              "64:ff9b::7f00:1",
                              "2002:7f00:1::",
                              "2001:db8::1",
                              "2001::1",
                              "3fff::1",
                              "64:ff9b:1:7f00:0:100:808:808",
                              "not an address",
                              ""})
    EXPECT_FALSE(is_public_address(address)) << address;
  for (const char* address : {"8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111",
                              "::ffff:8.8.8.8", "64:ff9b::808:808"})
    EXPECT_TRUE(is_public_address(address)) << address;
}

TEST(Address, HostRules) {
  const std::vector<std::string> rules = {"cdn.example.org", "*.example.net"};
  EXPECT_TRUE(host_allowed("CDN.Example.org", rules));
  EXPECT_TRUE(host_allowed("a.b.example.net.", rules));
  EXPECT_FALSE(host_allowed("example.net", rules));
  EXPECT_FALSE(host_allowed("badexample.net", rules));
  EXPECT_FALSE(host_allowed("cdn.example.org.evil.test", rules));
}

// Answers every connection on loopback with `reply`.
class Server {
 public:
  explicit Server(std::string reply) : reply_(std::move(reply)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(listener_, 16);
    socklen_t length = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (;;) {
        const int client = ::accept(listener_, nullptr, nullptr);
        if (client < 0) return;
        ++connections_;
        char buffer[4096];
        if (::read(client, buffer, sizeof buffer) > 0)
          (void)!::write(client, reply_.data(), reply_.size());
        ::close(client);
      }
    });
  }
  ~Server() {
    ::shutdown(listener_, SHUT_RDWR);
    ::close(listener_);
    thread_.join();
  }
  int64_t port() const { return port_; }
  int connections() const { return connections_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/a.png"; }

 private:
  std::string reply_;
  int listener_ = -1;
  int64_t port_ = 0;
  std::atomic<int> connections_{0};
  std::thread thread_;
};

FetchOptions options_for(const Server& server) {
  FetchOptions options;
  options.allow_hosts = {"127.0.0.1", "localhost"};
  options.allow_http = true;
  options.ports = {server.port()};
  return options;
}

std::string ok(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\nConnection: close\r\n\r\n" + body;
}

TEST(Fetch, LoopbackIsNeverReachedEvenWhenAllowed) {
  const Server server(ok("picture"));
  const Fetcher fetcher(options_for(server));
  for (const std::string& host : {"127.0.0.1", "localhost"}) {
    const std::string url = "http://" + host + ":" + std::to_string(server.port()) + "/a.png";
    EXPECT_EQ(fetcher.fetch(url, 1000, {}).reason, "private_address") << host;
  }
  EXPECT_EQ(server.connections(), 0);
}

TEST(Fetch, GetsBytesWithinTheCap) {
  const Server server(ok(std::string(500, 'x')));
  const Fetcher fetcher(options_for(server), false);
  const Fetched fetched = fetcher.fetch(server.url(), 1000, {});
  EXPECT_TRUE(fetched.ok()) << fetched.detail;
  EXPECT_EQ(fetched.bytes, std::string(500, 'x'));
  EXPECT_EQ(fetcher.fetch(server.url(), 100, {}).reason, "too_large");
}

TEST(Fetch, AnEndlessBodyStopsAtTheCap) {
  const Server server("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + std::string(300'000, 'x'));
  EXPECT_EQ(Fetcher(options_for(server), false).fetch(server.url(), 1000, {}).reason, "too_large");
}

TEST(Fetch, RedirectsAreCheckedLikeRequests) {
  const Server server(
      "HTTP/1.1 302 Found\r\nLocation: http://other.example/a.png\r\n"
      "Content-Length: 0\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(Fetcher(options_for(server), false).fetch(server.url(), 1000, {}).reason,
            "host_not_allowed");
  const Server file(
      "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n"
      "Connection: close\r\n\r\n");
  EXPECT_FALSE(Fetcher(options_for(file), false).fetch(file.url(), 1000, {}).ok());
  const Server loop(
      "HTTP/1.1 302 Found\r\nLocation: /b.png\r\nContent-Length: 0\r\n"
      "Connection: close\r\n\r\n");
  EXPECT_EQ(Fetcher(options_for(loop), false).fetch(loop.url(), 1000, {}).reason, "fetch_failed");
  EXPECT_EQ(loop.connections(), 4);
}

TEST(Fetch, RefusesBeforeConnecting) {
  const Server server(ok("picture"));
  const Fetcher fetcher(options_for(server), false);
  const std::string port = std::to_string(server.port());
  for (const auto& [url, reason] : std::vector<std::pair<std::string, std::string>>{
           {"http://user:pw@127.0.0.1:" + port + "/", "bad_url"},
           {"ftp://127.0.0.1:" + port + "/", "bad_url"},
           {"file:///etc/passwd", "bad_url"},
           {"http://127.0.0.1:22/", "bad_url"},
           {"http://example.org:" + port + "/", "host_not_allowed"},
           {"http://[::1]:" + port + "/", "host_not_allowed"},
           {"http://127.1:" + port + "/x", "bad"},
           {"nonsense", "bad"},
           {std::string(10'000, 'a'), "bad_url"}}) {
    const Fetched fetched = fetcher.fetch(url, 1000, {});
    if (reason != "bad") EXPECT_EQ(fetched.reason, reason) << url;
  }
  EXPECT_EQ(Fetcher(FetchOptions{}).fetch("https://example.org/", 1, {}).reason,
            "host_not_allowed");
}

TEST(Fetch, DataUris) {
  EXPECT_EQ(read_data_uri("data:image/png;base64,aGVsbG8=", 100).bytes, "hello");
  EXPECT_EQ(read_data_uri("data:;BASE64,aGVsbG8", 100).bytes, "hello");
  EXPECT_EQ(read_data_uri("data:image/png;base64,aGVsbG8=", 4).reason, "too_large");
  for (const char* bad : {"data:image/png;base64", "data:,x", "data:image/png;base64,a"})
    EXPECT_EQ(read_data_uri(bad, 100).reason, "bad_data_uri") << bad;
}

}  // namespace
}  // namespace parapet::guard

// A load generator for HTTP servers: keep-alive connections on plain sockets, closed loop (each
// connection asks again at once) or open loop (requests at set times; lateness counts).
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace parapet::bench {

using Clock = std::chrono::steady_clock;

struct LoadResult {
  std::vector<double> milliseconds;  // of good replies, sorted
  int64_t errors = 0;                // another status, or no reply
  double seconds = 0;
  double at(double share) const {
    if (milliseconds.empty()) return 0;
    const auto last = static_cast<double>(milliseconds.size() - 1);
    return milliseconds[static_cast<size_t>(share * last + 0.5)];
  }
};

class LoadConnection {
 public:
  explicit LoadConnection(uint16_t port) : port_(port) { open(); }
  ~LoadConnection() { ::close(socket_); }
  LoadConnection(const LoadConnection&) = delete;
  LoadConnection& operator=(const LoadConnection&) = delete;

  // The reply's status; 0 when the connection broke (it is opened again).
  int ask(const std::string& request) {
    size_t sent = 0;
    while (sent < request.size()) {
      const ssize_t count =
          ::send(socket_, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) return broken();
      sent += static_cast<size_t>(count);
    }
    text_.clear();
    for (;;) {
      const ssize_t count = ::recv(socket_, buffer_, sizeof buffer_, 0);
      if (count <= 0) return broken();
      text_.append(buffer_, static_cast<size_t>(count));
      const size_t end = text_.find("\r\n\r\n");
      if (end == std::string::npos) continue;
      if (text_.size() >= end + 4 + content_length(end)) return std::atoi(text_.c_str() + 9);
    }
  }
  const std::string& reply() const { return text_; }

 private:
  void open() {
    socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("cannot connect to the server");
    const int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  int broken() {
    ::close(socket_);
    open();
    return 0;
  }
  // Servers differ in how they spell the header.
  size_t content_length(size_t end) const {
    static constexpr std::string_view kName = "content-length:";
    for (size_t at = 0; at + kName.size() < end; ++at) {
      size_t same = 0;
      while (same < kName.size() && (text_[at + same] | 0x20) == (kName[same] | 0x20)) ++same;
      if (same == kName.size()) return std::stoul(text_.substr(at + same));
    }
    return 0;
  }

  uint16_t port_;
  int socket_ = -1;
  char buffer_[65536];
  std::string text_;
};

// Twelve characters of a request that become a number never used before: no cache knows it.
inline constexpr std::string_view kUnique = "UNIQUEUNIQUE";

inline void make_unique(std::string& request) {
  static std::atomic<int64_t> next{std::chrono::duration_cast<std::chrono::microseconds>(
                                       std::chrono::system_clock::now().time_since_epoch())
                                       .count()};
  const std::string digits = std::to_string(next++);
  const std::string number = digits.substr(digits.size() - kUnique.size());
  for (size_t at = request.find(kUnique); at != std::string::npos; at = request.find(kUnique, at))
    request.replace(at, kUnique.size(), number);
}

// `rate` 0 = closed loop. Requests are taken in turn.
inline LoadResult run_load(uint16_t port, const std::vector<std::string>& requests, int connections,
                           double rate, double seconds) {
  LoadResult result;
  std::mutex mutex;
  std::atomic<int64_t> next{0};
  const auto start = Clock::now() + std::chrono::milliseconds(50);
  const auto length =
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  const auto work = [&] {
    LoadConnection connection(port);
    std::vector<double> own;
    int64_t errors = 0;
    for (;;) {
      const int64_t number = next++;
      std::string request = requests[static_cast<size_t>(number) % requests.size()];
      make_unique(request);
      auto due = Clock::now();
      if (rate > 0) {
        due = start + std::chrono::duration_cast<Clock::duration>(
                          std::chrono::duration<double>(static_cast<double>(number) / rate));
        if (due >= start + length) break;
        std::this_thread::sleep_until(due);
      }
      if (Clock::now() >= start + (rate > 0 ? 2 : 1) * length) break;
      if (connection.ask(request) == 200)
        own.push_back(std::chrono::duration<double, std::milli>(Clock::now() - due).count());
      else
        ++errors;
    }
    const std::lock_guard lock(mutex);
    result.milliseconds.insert(result.milliseconds.end(), own.begin(), own.end());
    result.errors += errors;
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < connections; ++i) threads.emplace_back(work);
  for (auto& thread : threads) thread.join();
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::sort(result.milliseconds.begin(), result.milliseconds.end());
  return result;
}

}  // namespace parapet::bench

// A blocking socket for tests: sends exact bytes, reads what comes.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace parapet::serving {

class RawClient {
 public:
  explicit RawClient(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("cannot connect");
    const timeval limit{20, 0};  // a hang fails rather than stops the tests
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  ~RawClient() { ::close(socket_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // False when the server closed on us.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(count));
    }
    return true;
  }
  void finish_sending() { ::shutdown(socket_, SHUT_WR); }
  // So many bytes, or fewer when the server closes.
  std::string read(size_t size) {
    std::string text = std::move(rest_);
    rest_.clear();
    char buffer[4096];
    while (text.size() < size) {
      const ssize_t count = ::recv(socket_, buffer, sizeof buffer, 0);
      if (count <= 0) return text;
      text.append(buffer, static_cast<size_t>(count));
    }
    rest_ = text.substr(size);
    text.resize(size);
    return text;
  }
  // Until the server closes.
  std::string read_all() {
    std::string text = std::move(rest_);
    char buffer[65536];
    for (ssize_t count; (count = ::recv(socket_, buffer, sizeof buffer, 0)) > 0;)
      text.append(buffer, static_cast<size_t>(count));
    return text;
  }
  // One reply with a Content-Length.
  std::string read_reply() {
    std::string text = std::move(rest_);
    rest_.clear();
    char buffer[65536];
    for (;;) {
      const size_t end = text.find("\r\n\r\n");
      const size_t field = text.find("Content-Length: ");
      if (end != std::string::npos && field < end) {
        const size_t size = end + 4 + std::stoul(text.substr(field + 16));
        if (text.size() >= size) {
          rest_ = text.substr(size);
          return text.substr(0, size);
        }
      }
      const ssize_t count = ::recv(socket_, buffer, sizeof buffer, 0);
      if (count <= 0) return text;
      text.append(buffer, static_cast<size_t>(count));
    }
  }

 private:
  int socket_;
  std::string rest_;
};

}  // namespace parapet::serving

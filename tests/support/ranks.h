// Several ranks of a world on this machine: as threads of one process, or as torchrun's variables
// for processes of their own.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "parapet/training/distributed.h"

namespace parapet::test {

inline int64_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ::bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(fd);
  return ntohs(address.sin_port);
}

inline std::map<std::string, std::string> rank_variables(int64_t rank, int64_t world,
                                                         int64_t port) {
  return {{"RANK", std::to_string(rank)},
          {"WORLD_SIZE", std::to_string(world)},
          {"LOCAL_RANK", std::to_string(rank)},
          {"MASTER_ADDR", "127.0.0.1"},
          {"MASTER_PORT", std::to_string(port)}};
}

inline WorldInfo environment(const std::map<std::string, std::string>& variables) {
  return world_from_environment([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

// Runs `fn(communicator)` as every rank, each on a thread of its own (Gloo allows that).
inline void on_ranks(int64_t world_size, const std::function<void(Communicator&)>& fn,
                     int64_t timeout = 30) {
  const int64_t port = free_port();
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < world_size; ++rank)
    threads.emplace_back([&, rank] {
      WorldInfo info = environment(rank_variables(rank, world_size, port));
      info.timeout_seconds = timeout;
      const auto world = make_communicator(info, "cpu");
      fn(*world);
      world->barrier();
    });
  for (auto& thread : threads) thread.join();
}

}  // namespace parapet::test

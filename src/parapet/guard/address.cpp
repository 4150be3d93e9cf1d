#include "parapet/guard/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "parapet/core/strings.h"

namespace parapet::guard {
namespace {

struct Range4 {
  uint32_t address;
  int bits;
};

constexpr uint32_t ip4(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return a << 24 | b << 16 | c << 8 | d;
}

// IANA's special-purpose registry: nothing in it is a public server.
constexpr std::array kNotPublic4 = {
    Range4{ip4(0, 0, 0, 0), 8},      Range4{ip4(10, 0, 0, 0), 8},
    Range4{ip4(100, 64, 0, 0), 10},  Range4{ip4(127, 0, 0, 0), 8},
    Range4{ip4(169, 254, 0, 0), 16}, Range4{ip4(172, 16, 0, 0), 12},
    Range4{ip4(192, 0, 0, 0), 24},   Range4{ip4(192, 0, 2, 0), 24},
    Range4{ip4(192, 88, 99, 0), 24}, Range4{ip4(192, 168, 0, 0), 16},
    Range4{ip4(198, 18, 0, 0), 15},  Range4{ip4(198, 51, 100, 0), 24},
    Range4{ip4(203, 0, 113, 0), 24}, Range4{ip4(224, 0, 0, 0), 3},
};

bool is_public4(uint32_t address) {
  return std::none_of(kNotPublic4.begin(), kNotPublic4.end(), [&](const Range4& range) {
    return (address ^ range.address) >> (32 - range.bits) == 0;
  });
}

uint32_t last4(const uint8_t* bytes) { return ip4(bytes[0], bytes[1], bytes[2], bytes[3]); }

bool starts_with(const uint8_t* bytes, std::initializer_list<uint8_t> prefix) {
  return std::equal(prefix.begin(), prefix.end(), bytes);
}

bool is_public6(const uint8_t* b) {
  const bool zeros = std::all_of(b, b + 10, [](uint8_t byte) { return byte == 0; });
  // ::ffff:a.b.c.d, and the older ::a.b.c.d (with it :: and ::1)
  if (zeros && b[10] == 0xFF && b[11] == 0xFF) return is_public4(last4(b + 12));
  if (zeros) return false;
  if (starts_with(b, {0x00, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0}))  // NAT64
    return is_public4(last4(b + 12));
  if (starts_with(b, {0x20, 0x02})) return is_public4(last4(b + 2));  // 6to4
  if (starts_with(b, {0x20, 0x01, 0x00, 0x00})) return false;         // Teredo
  if (starts_with(b, {0x20, 0x01, 0x0D, 0xB8})) return false;         // documentation
  if (starts_with(b, {0x20, 0x01, 0x00})) return false;           // 2001::/24: protocol assignments
  if (starts_with(b, {0x3F, 0xFF}) && b[2] < 0x10) return false;  // documentation too
  return (b[0] & 0xE0) == 0x20;                                   // global unicast is 2000::/3
}

}  // namespace

bool is_public_address(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    return is_public4(ntohl(in.sin_addr.s_addr));
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, address, sizeof in);
    return is_public6(in.sin6_addr.s6_addr);
  }
  return false;
}

bool is_public_address(std::string_view text) {
  const std::string copy(text);
  sockaddr_in four{};
  four.sin_family = AF_INET;
  if (inet_pton(AF_INET, copy.c_str(), &four.sin_addr) == 1)
    return is_public_address(reinterpret_cast<const sockaddr*>(&four));
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  if (inet_pton(AF_INET6, copy.c_str(), &six.sin6_addr) == 1)
    return is_public_address(reinterpret_cast<const sockaddr*>(&six));
  return false;
}

bool host_allowed(std::string_view host, const std::vector<std::string>& rules) {
  std::string name = to_lower_ascii(host);
  if (name.ends_with('.')) name.pop_back();
  return std::any_of(rules.begin(), rules.end(), [&](const std::string& rule) {
    if (!rule.starts_with("*.")) return name == rule;
    const std::string_view suffix = std::string_view(rule).substr(1);  // ".example.org"
    return name.size() > suffix.size() && name.ends_with(suffix);
  });
}

}  // namespace parapet::guard

// Which network addresses the guard may fetch from: public ones only.
#pragma once
#include <string>
#include <string_view>
#include <vector>

struct sockaddr;

namespace parapet::guard {

// False for private, loopback, link-local, shared, multicast, reserved and documentation ranges, of
// IPv4 and IPv6, also where an IPv4 address hides in an IPv6 one.
bool is_public_address(const sockaddr* address);
// An address in text; false when it is none.
bool is_public_address(std::string_view text);

// Whether `host` (any case) is "a.b", or below b where a rule says "*.b".
bool host_allowed(std::string_view host, const std::vector<std::string>& rules);

}  // namespace parapet::guard

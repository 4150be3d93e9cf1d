#include "parapet/serving/http_options.h"

#include <boost/asio/ip/address.hpp>

#include "parapet/core/error.h"

namespace parapet::serving {

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
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(result.address, error);
  if (error) fail("is not an IP address and port");
  result.loopback = address.is_loopback();
  return result;
}

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

}  // namespace parapet::serving

#include "parapet/guard/fetch.h"

#include <curl/curl.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "parapet/core/base64.h"
#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/guard/address.h"

namespace parapet::guard {
namespace {

constexpr size_t kMaxUrl = 8192;

struct CurlDelete {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Handle = std::unique_ptr<CURL, CurlDelete>;
using Url = std::unique_ptr<CURLU, CurlDelete>;

Fetched failed(std::string reason, std::string detail) {
  return {"", std::move(reason), std::move(detail)};
}

// One transfer: what the callbacks need.
struct Transfer {
  std::string bytes;
  int64_t max_bytes = 0;
  bool too_large = false;
  bool only_public = true;
  bool private_address = false;
};

size_t on_bytes(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const size_t length = size * count;
  if (static_cast<int64_t>(transfer.bytes.size() + length) > transfer.max_bytes) {
    transfer.too_large = true;
    return 0;
  }
  transfer.bytes.append(data, length);
  return length;
}

curl_socket_t on_socket(void* user, curlsocktype, struct curl_sockaddr* address) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (transfer.only_public && !is_public_address(&address->addr)) {
    transfer.private_address = true;
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

std::string url_part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return "";
  std::string value(text);
  curl_free(text);
  return value;
}

// Empty = may be fetched.
Fetched check_url(CURLU* url, const FetchOptions& options) {
  const std::string scheme = url_part(url, CURLUPART_SCHEME);
  if (scheme != "https" && !(scheme == "http" && options.allow_http))
    return failed("bad_url", "only https" + std::string(options.allow_http ? " and http" : "") +
                                 " URLs are fetched");
  if (!url_part(url, CURLUPART_USER).empty() || !url_part(url, CURLUPART_PASSWORD).empty())
    return failed("bad_url", "URLs with a user name are not fetched");
  const std::string host = url_part(url, CURLUPART_HOST);
  if (!host_allowed(host, options.allow_hosts))
    return failed("host_not_allowed", "host '" + host.substr(0, 253) + "' is not in allow_hosts");
  const std::string port = url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
  const bool allowed = std::any_of(options.ports.begin(), options.ports.end(),
                                   [&](int64_t one) { return std::to_string(one) == port; }) ||
                       (scheme == "http" && port == "80");
  if (!allowed) return failed("bad_url", "port " + port + " is not allowed");
  return {};
}

void set_up(CURL* handle, Transfer& transfer, const std::string& url, long timeout_ms) {
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_PROXY, "");  // a proxy would connect where we cannot look
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, timeout_ms);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, timeout_ms);
  curl_easy_setopt(handle, CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(transfer.max_bytes));
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_bytes);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, on_socket);
  curl_easy_setopt(handle, CURLOPT_OPENSOCKETDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "parapet");
}

Fetched outcome(CURLcode code, const Transfer& transfer, long status) {
  if (transfer.private_address)
    return failed("private_address", "the host's address is not a public one");
  if (transfer.too_large || code == CURLE_FILESIZE_EXCEEDED)
    return failed("too_large", "more than " + format_bytes(transfer.max_bytes));
  if (code == CURLE_OPERATION_TIMEDOUT) return failed("fetch_failed", "timed out");
  if (code != CURLE_OK) return failed("fetch_failed", curl_easy_strerror(code));
  if (status != 200) return failed("fetch_failed", "the server answered " + std::to_string(status));
  return {};
}

void initialise_curl() {
  static const CURLcode once = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (once != CURLE_OK) throw UsageError("libcurl cannot be initialised");
}

}  // namespace

Fetcher::Fetcher(const FetchOptions& options, bool only_public)
    : options_(options), only_public_(only_public) {
  initialise_curl();
}

Fetched Fetcher::fetch(std::string_view text, int64_t max_bytes,
                       const std::optional<Clock::time_point>& deadline) const {
  if (text.size() > kMaxUrl) return failed("bad_url", "longer than 8192 bytes");
  if (options_.allow_hosts.empty())
    return failed("host_not_allowed", "the policy fetches nothing ([fetch] allow_hosts is empty)");
  auto until = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                  std::chrono::duration<double, std::milli>(options_.timeout_ms));
  if (deadline) until = std::min(until, *deadline);
  Url url(curl_url());
  if (curl_url_set(url.get(), CURLUPART_URL, std::string(text).c_str(), 0) != CURLUE_OK)
    return failed("bad_url", "not a URL");
  for (int64_t hop = 0; hop <= options_.max_redirects; ++hop) {
    Fetched refused = check_url(url.get(), options_);
    if (!refused.ok()) return refused;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    if (left.count() <= 0) return failed("fetch_failed", "timed out");
    Transfer transfer;
    transfer.max_bytes = max_bytes;
    transfer.only_public = only_public_;
    Handle handle(curl_easy_init());
    if (!handle) return failed("fetch_failed", "libcurl is out of memory");
    set_up(handle.get(), transfer, url_part(url.get(), CURLUPART_URL),
           static_cast<long>(left.count()));
    const CURLcode code = curl_easy_perform(handle.get());
    long status = 0;
    curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &status);
    char* location = nullptr;
    curl_easy_getinfo(handle.get(), CURLINFO_REDIRECT_URL, &location);
    if (code == CURLE_OK && status >= 300 && status < 400 && location != nullptr) {
      if (curl_url_set(url.get(), CURLUPART_URL, location, 0) != CURLUE_OK)
        return failed("bad_url", "redirected to something that is not a URL");
      continue;
    }
    Fetched result = outcome(code, transfer, status);
    if (result.ok()) result.bytes = std::move(transfer.bytes);
    return result;
  }
  return failed("fetch_failed",
                "more than " + std::to_string(options_.max_redirects) + " redirects");
}

Fetched read_base64(std::string_view text, int64_t max_bytes) {
  if (base64_decoded_bound(text) > max_bytes + 2)
    return failed("too_large", "more than " + format_bytes(max_bytes));
  try {
    return {base64_decode(text, "base64", max_bytes), "", ""};
  } catch (const DataError& error) {
    return failed("bad_base64", error.problem());
  }
}

Fetched read_data_uri(std::string_view uri, int64_t max_bytes) {
  const size_t comma = uri.find(',');
  if (comma == std::string_view::npos || comma > 256)
    return failed("bad_data_uri", "no ',' after the media type");
  if (!to_lower_ascii(uri.substr(0, comma)).ends_with(";base64"))
    return failed("bad_data_uri", "only base64 data URIs are read");
  Fetched fetched = read_base64(uri.substr(comma + 1), max_bytes);
  if (fetched.reason == "bad_base64") fetched.reason = "bad_data_uri";
  return fetched;
}

}  // namespace parapet::guard

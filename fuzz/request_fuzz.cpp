// Any bytes as a request of each dialect: an ApiError 400 or a request whose parts are all there.
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "parapet/serving/dialects.h"
#include "parapet/serving/json_body.h"

namespace {

using namespace parapet::serving;

void require(bool ok) {
  if (!ok) std::abort();
}

void check(const parapet::guard::GuardRequest& input, const RequestOptions& options) {
  for (const auto& part : input.parts) require(!part.label.empty() || part.content.size() <= 65536);
  require(options.unknown.size() <= 32);
  for (const auto& name : options.unknown) require(name.size() <= 200);
  if (options.deadline_ms) require(*options.deadline_ms >= 1 && *options.deadline_ms <= 600'000);
}

template <class Read>
void attempt(const nlohmann::json& body, Read read) {
  try {
    read(body);
  } catch (const ApiError& error) {
    require(error.status == 400 && !error.code.empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nlohmann::json body;
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    body = parse_body(text);
    require(body == nlohmann::json::parse(text));
  } catch (const ApiError& error) {
    require(error.status == 400);
    return 0;
  }
  const DialectLimits limits{.max_parts = 16};
  attempt(body, [&](const auto& value) {
    const auto request = read_moderation(value, limits);
    require(!request.inputs.empty() && request.inputs.size() <= limits.max_parts);
    for (const auto& input : request.inputs) {
      require(!input.parts.empty());
      check(input, request.options);
    }
  });
  attempt(body, [&](const auto& value) {
    const auto request = read_guard_request(value, limits);
    require(!request.input.parts.empty());
    check(request.input, request.options);
  });
  attempt(body, [&](const auto& value) {
    const auto request = read_litellm(value);
    require(request.input.parts.size() >= request.texts.size() + request.images.size());
    check(request.input, request.options);
  });
  return 0;
}

// What clients send, turned into requests to the guard. Pure functions of the body; ApiError 400
// names the field. One source per dialect.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "parapet/guard/request.h"

namespace parapet::serving {

struct DialectLimits {
  size_t max_parts = 256;
};

// What every dialect understands beside its parts.
struct RequestOptions {
  std::optional<double> deadline_ms;
  std::vector<std::string> unknown;  // paths of fields that were ignored
};

// POST /v1/moderations: OpenAI's shape; our own options under "parapet".
struct ModerationRequest {
  std::vector<guard::GuardRequest> inputs;  // one per result: a list of strings has several
  RequestOptions options;
};
ModerationRequest read_moderation(const nlohmann::json& body, const DialectLimits& limits = {});

// POST /v1/guard: {"parts": [...]} and the options beside it.
struct OwnRequest {
  guard::GuardRequest input;
  RequestOptions options;
};
OwnRequest read_guard_request(const nlohmann::json& body, const DialectLimits& limits = {});

// POST /beta/litellm_basic_guardrail_api. Parts are descriptions of tools, what messages carry
// beside the texts and images, these, then calls of tools.
struct LitellmRequest {
  guard::GuardRequest input;
  RequestOptions options;
  std::vector<std::string> texts, images;    // as sent, to be sent back
  std::vector<int> text_parts, image_parts;  // of each the part that it is
};
LitellmRequest read_litellm(const nlohmann::json& body);

}  // namespace parapet::serving

// An error of the API, in the shape that OpenAI's clients read.
#pragma once
#include <optional>
#include <stdexcept>
#include <string>

namespace parapet::serving {

struct ApiError : std::runtime_error {
  ApiError(int http_status, std::string error_code, const std::string& message,
           std::string field = "")
      : std::runtime_error(message),
        status(http_status),
        code(std::move(error_code)),
        param(std::move(field)) {}
  int status;
  std::string code;   // stable word, e.g. "invalid_type"
  std::string param;  // path of the field, e.g. "input[2].image_url"; empty = none
};

}  // namespace parapet::serving

#include "parapet/core/error.h"

namespace parapet {
namespace {

std::string data_message(std::string_view source, std::string_view problem, std::string_view hint) {
  std::string text(source);
  text.append(": ").append(problem);
  if (!hint.empty()) text.append(". ").append(hint);
  return text;
}

}  // namespace

int Error::exit_code() const {
  switch (kind_) {
    case ErrorKind::kInternal:
      return 1;
    case ErrorKind::kUsage:
      return 2;
    case ErrorKind::kData:
      return 3;
    case ErrorKind::kCheckFailed:
      return 4;
    case ErrorKind::kCancelled:
      return 130;
  }
  return 1;
}

DataError::DataError(std::string_view source, std::string_view problem, std::string_view hint)
    : Error(ErrorKind::kData, data_message(source, problem, hint)),
      source_(source),
      problem_(problem) {}

}  // namespace parapet

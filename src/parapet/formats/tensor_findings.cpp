#include "parapet/formats/tensor_findings.h"

#include "parapet/core/error.h"

namespace parapet {
namespace {

constexpr int64_t kShown = 8;
constexpr size_t kShownName = 200;

}  // namespace

void TensorFindings::add(const std::string& name, const std::string& problem) {
  ++count_;
  if (count_ > kShown) return;
  if (!text_.empty()) text_ += "; ";
  text_ += "tensor '" + name.substr(0, kShownName) + "' " + problem;
}

void TensorFindings::throw_if_any(const std::filesystem::path& file) const {
  if (count_ == 0) return;
  std::string text = text_;
  if (count_ > kShown) text += "; and " + std::to_string(count_ - kShown) + " more";
  throw DataError(file.string(), text,
                  "The file is damaged or was written by a faulty tool: copy or export it again.");
}

}  // namespace parapet

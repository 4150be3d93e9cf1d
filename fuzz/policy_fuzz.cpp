// Any bytes as a policy, as the `when` of a combination, and as a text seen through its disguises.
// Every mistake is a UsageError; views stay within the text.
#include <cstdlib>
#include <string_view>

#include "parapet/core/error.h"
#include "parapet/core/utf8.h"
#include "parapet/guard/expression.h"
#include "parapet/guard/policy.h"
#include "parapet/guard/text_views.h"

namespace {

using namespace parapet;
using namespace parapet::guard;

void read_policy(std::string_view text) {
  try {
    // A folder that does not exist: no policy can name a file of this machine. The taxonomy is
    // missing then, so every policy is refused, after all of it was read.
    Policy::parse(text, "fuzz.toml", "/nonexistent");
    std::abort();
  } catch (const UsageError&) {
  }
}

void read_expression(std::string_view text) {
  try {
    ExpressionFacts facts;
    facts.score = [](std::string_view name, std::optional<Modality>) -> std::optional<double> {
      if (name.size() % 2 == 0) return std::nullopt;
      return 0.5;
    };
    facts.rule = [](std::string_view name) { return name.size() % 2 == 0; };
    Expression::parse(text).evaluate(facts);
  } catch (const UsageError&) {
  }
}

void read_views(std::string_view bytes) {
  std::string storage;
  const std::string_view text = repair_utf8(bytes, storage);
  for (const TextView& view : text_views(text, true, true)) {
    if (view.for_phrases() && view.disguised.size() != view.chars.size()) std::abort();
    for (const FoldedChar& one : view.chars)
      if (one.begin > one.end || one.end > text.size()) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read_policy(text);
  read_expression(text);
  read_views(text);
  return 0;
}

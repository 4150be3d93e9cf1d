#include "parapet/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "parapet/core/error.h"

namespace parapet::text {
namespace {

// Match data hold the result only, so one block per thread serves every pattern.
struct ThreadState {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 * 1024, 16 * 1024 * 1024, nullptr);
  ThreadState() { pcre2_jit_stack_assign(context, nullptr, stack); }
  ~ThreadState() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
};

ThreadState& thread_state() {
  thread_local ThreadState state;
  return state;
}

std::string message(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct Regex::Impl {
  std::string source;
  pcre2_code* code = nullptr;
  bool jit = false;
  ~Impl() { pcre2_code_free(code); }
};

Regex::Regex(std::string_view pattern, std::string_view source) : impl_(std::make_unique<Impl>()) {
  const std::string translated = translate_regex(pattern, source);
  impl_->source = source;
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Ruby's ^ and $ work on lines.
  impl_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_UTF_CHECK, &error,
                              &offset, nullptr);
  if (impl_->code == nullptr)
    throw DataError(source, "regex '" + std::string(pattern) + "': " + message(error));
  impl_->jit = pcre2_jit_compile(impl_->code, PCRE2_JIT_COMPLETE) == 0;
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;

bool Regex::search(std::string_view text, size_t from, size_t& start, size_t& end) const {
  ThreadState& state = thread_state();
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const int rc = impl_->jit ? pcre2_jit_match(impl_->code, subject, text.size(), from, 0,
                                              state.data, state.context)
                            : pcre2_match(impl_->code, subject, text.size(), from,
                                          PCRE2_NO_UTF_CHECK, state.data, state.context);
  if (rc == PCRE2_ERROR_NOMATCH) return false;
  if (rc < 0)
    throw DataError(impl_->source, "the pre-tokenizer's regex gave up on a text of " +
                                       std::to_string(text.size()) + " bytes: " + message(rc));
  const PCRE2_SIZE* span = pcre2_get_ovector_pointer(state.data);
  start = span[0], end = span[1];
  return true;
}

}  // namespace parapet::text

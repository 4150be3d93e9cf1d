#include "parapet/guard/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "parapet/core/error.h"

namespace parapet::guard {
namespace {

constexpr size_t kMaxPattern = 8192;
constexpr uint32_t kMatchLimit = 200'000;  // steps per search, about 10 ms at most
constexpr uint32_t kDepthLimit = 10'000;
constexpr uint32_t kHeapLimit = 16 * 1024;  // KiB
constexpr size_t kMaxSpans = 1000;
constexpr int64_t kMaxSearches = 2000;  // per text, so that limits cannot add up

struct ThreadState {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 * 1024, 4 * 1024 * 1024, nullptr);
  ThreadState() {
    pcre2_jit_stack_assign(context, nullptr, stack);
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_depth_limit(context, kDepthLimit);
    pcre2_set_heap_limit(context, kHeapLimit);
  }
  ThreadState(const ThreadState&) = delete;
  ThreadState& operator=(const ThreadState&) = delete;
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

pcre2_code* compile(std::string_view pattern, std::string& problem) {
  if (pattern.empty() || pattern.size() > kMaxPattern) {
    problem = pattern.empty() ? "is empty" : "is longer than 8192 bytes";
    return nullptr;
  }
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_CASELESS | PCRE2_NEVER_BACKSLASH_C,
                                   &error, &offset, nullptr);
  if (code == nullptr) {
    PCRE2_UCHAR buffer[256];
    pcre2_get_error_message(error, buffer, sizeof buffer);
    problem =
        std::string(reinterpret_cast<const char*>(buffer)) + " at byte " + std::to_string(offset);
  }
  return code;
}

}  // namespace

struct Pattern::Impl {
  pcre2_code* code = nullptr;
  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { pcre2_code_free(code); }
};

Pattern::Pattern(std::string_view pattern) : impl_(std::make_unique<Impl>()) {
  std::string problem;
  impl_->code = compile(pattern, problem);
  if (impl_->code == nullptr) throw UsageError("regex '" + std::string(pattern) + "': " + problem);
  pcre2_jit_compile(impl_->code, PCRE2_JIT_COMPLETE);  // slower, not wrong, where it cannot
}

Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;

std::string Pattern::problem(std::string_view pattern) {
  std::string problem;
  pcre2_code_free(compile(pattern, problem));
  return problem;
}

bool Pattern::find_all(std::string_view text, std::vector<Span>& spans) const {
  ThreadState& state = thread_state();
  const size_t first = spans.size();
  size_t from = 0;
  for (int64_t search = 0; search < kMaxSearches && from <= text.size(); ++search) {
    const int found = pcre2_match(impl_->code, reinterpret_cast<PCRE2_SPTR>(text.data()),
                                  text.size(), from, PCRE2_NO_UTF_CHECK, state.data, state.context);
    if (found == PCRE2_ERROR_NOMATCH) return true;
    if (found < 0) return false;
    const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(state.data);
    const size_t begin = std::min(offsets[0], offsets[1]);
    const size_t end = std::max(offsets[0], offsets[1]);
    if (end > begin) {
      if (spans.size() - first < kMaxSpans)
        spans.push_back({begin, end});
      else
        spans.back().end = end;
      from = std::max(end, from + 1);
    } else {
      from = std::max(end, from) + 1;
    }
    while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
  }
  if (from > text.size()) return true;
  // Matches without end: the rest of the text is taken for one.
  if (spans.size() - first < kMaxSpans) return false;
  spans.back().end = text.size();
  return true;
}

}  // namespace parapet::guard

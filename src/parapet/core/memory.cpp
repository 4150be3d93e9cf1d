#include "parapet/core/memory.h"

#include <atomic>

#if __has_include(<malloc.h>)
#include <malloc.h>
#endif

namespace parapet {
namespace {
#ifdef M_MMAP_MAX
std::atomic<bool> g_keeps{false};
#endif
}  // namespace

void keep_freed_memory() {
#ifdef M_MMAP_MAX
  g_keeps = true;
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);  // never
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

void return_freed_memory() {
#ifdef M_MMAP_MAX
  if (!g_keeps) malloc_trim(0);
#endif
}

}  // namespace parapet

#include "parapet/core/memory.h"

#if __has_include(<malloc.h>)
#include <malloc.h>
#endif

namespace parapet {

void keep_freed_memory() {
#ifdef M_MMAP_MAX
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);  // never
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

}  // namespace parapet

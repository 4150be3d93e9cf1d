// One copy of a function per instruction set, chosen when the program starts:
//   PARAPET_TARGET_CLONES("avx2", "default") void add(...);
// Nothing where the compiler has no such thing, and none under the thread sanitizer: the choice
// runs before its runtime is there, and crashes.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define PARAPET_TARGET_CLONES(...) __attribute__((target_clones(__VA_ARGS__)))
#else
#define PARAPET_TARGET_CLONES(...)
#endif

// The same for loops that the vectoriser should have at any optimisation level.
#if defined(__GNUC__) && !defined(__clang__)
#define PARAPET_VECTOR_CLONES(...) \
  PARAPET_TARGET_CLONES(__VA_ARGS__) __attribute__((optimize("O3")))
#else
#define PARAPET_VECTOR_CLONES(...)
#endif

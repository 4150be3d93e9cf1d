// What the command line shows: log lines and progress bars on stderr.
#pragma once
#include <cstdint>

#include "parapet/core/context.h"

namespace parapet::cli {

// Log lines to stderr (warnings only when `quiet`); progress bars only when stderr is a terminal.
Context terminal_context(bool quiet);

// Torch's thread count; 0 keeps the default (all cores).
void apply_threads(int64_t threads);

}  // namespace parapet::cli

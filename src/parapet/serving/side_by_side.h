// The items of one request, worked on by its own worker and by workers that have nothing to do.
#pragma once
#include <cstddef>
#include <functional>

#include "parapet/serving/worker_pool.h"

namespace parapet::serving {

// Calls fn(i) once for every i in [0, count), several at a time, and returns when all ended. The
// caller takes items itself, so that a busy pool makes it slower and never stuck; a worker that
// helps leaves after its item when requests wait. An exception stops the hand-out; of several that
// of the lowest item is rethrown.
void side_by_side(WorkerPool& workers, size_t count, const std::function<void(size_t)>& fn);

}  // namespace parapet::serving

// How processes find each other: a key-value store at MASTER_ADDR:MASTER_PORT.
#pragma once
#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "parapet/training/communicator.h"

namespace parapet {

// Rank 0 serves the store unless a launcher does. Returns when every rank has joined; throws
// UsageError naming the ranks that did not within info.timeout_seconds.
c10::intrusive_ptr<c10d::Store> rendezvous(const WorldInfo& info);

}  // namespace parapet

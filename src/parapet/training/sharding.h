// Work over a finite list of rows, shared out to the processes and brought together again.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "parapet/data/sources/share.h"
#include "parapet/training/communicator.h"

namespace parapet {

// This process's share of `count` rows, in whole chunks.
RowRange own_share(int64_t count, int64_t chunk, const Communicator& communicator);
// [own, ...] of each process -> [sum of own, ...] in rank order, the same on all; the processes may
// bring different numbers of rows, also none. Not differentiable.
at::Tensor gather_shares(const at::Tensor& rows, Communicator& communicator);

}  // namespace parapet

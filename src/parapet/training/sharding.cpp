#include "parapet/training/sharding.h"

#include <ATen/ATen.h>

#include <vector>

namespace parapet {

RowRange own_share(int64_t count, int64_t chunk, const Communicator& communicator) {
  return share_of(count, chunk, communicator.rank(), communicator.world_size());
}

at::Tensor gather_shares(const at::Tensor& rows, Communicator& communicator) {
  const int64_t ranks = communicator.world_size();
  if (ranks == 1) return rows;
  const at::NoGradGuard no_grad;
  const at::Tensor sizes =
      communicator.gather(at::full({1}, rows.size(0), at::kLong)).to(at::kCPU).contiguous();
  const int64_t longest = sizes.max().item<int64_t>();
  if (longest == 0) return rows;
  auto shape = rows.sizes().vec();
  shape[0] = longest;
  at::Tensor padded = at::zeros(shape, rows.options());
  padded.narrow(0, 0, rows.size(0)).copy_(rows);
  const at::Tensor all = communicator.gather(padded);
  std::vector<at::Tensor> parts;
  for (int64_t rank = 0; rank < ranks; ++rank)
    parts.push_back(all.narrow(0, rank * longest, sizes.const_data_ptr<int64_t>()[rank]));
  return at::cat(parts);
}

}  // namespace parapet

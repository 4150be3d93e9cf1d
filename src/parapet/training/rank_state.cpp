#include "parapet/training/rank_state.h"

#include <ATen/ATen.h>

#include <cstring>

namespace parapet {

nlohmann::json gather_json(Communicator& communicator, const nlohmann::json& value) {
  if (communicator.world_size() == 1) return nlohmann::json::array({value});
  const std::string text = value.dump();
  const at::NoGradGuard no_grad;
  const auto size = at::full({1, 1}, static_cast<int64_t>(text.size()), at::kLong);
  const auto sizes = communicator.gather(size).flatten();
  const auto longest = sizes.max().item<int64_t>();
  auto row = at::zeros({1, longest}, at::kByte);
  std::memcpy(row.data_ptr(), text.data(), text.size());
  const auto rows = communicator.gather(row).cpu().contiguous();
  auto all = nlohmann::json::array();
  for (int64_t r = 0; r < communicator.world_size(); ++r) {
    const auto* begin = static_cast<const char*>(rows.data_ptr()) + r * longest;
    all.push_back(nlohmann::json::parse(begin, begin + sizes[r].item<int64_t>()));
  }
  return all;
}

nn::NamedTensors gather_rows(Communicator& communicator, const nn::NamedTensors& tensors) {
  const at::NoGradGuard no_grad;
  nn::NamedTensors rows;
  for (const auto& [name, tensor] : tensors)
    rows.emplace_back(name, communicator.gather(tensor.unsqueeze(0)));
  return rows;
}

}  // namespace parapet

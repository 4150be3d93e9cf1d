#include "parapet/training/gradients.h"

#include <ATen/ATen.h>

namespace parapet {

at::Tensor gradient_norm(const std::vector<at::Tensor>& gradients) {
  if (gradients.empty()) return at::zeros({}, at::kFloat);
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> norms = at::_foreach_norm(gradients, 2);
  for (auto& norm : norms) norm = norm.to(gradients.front().device(), at::kFloat);
  return at::linalg_vector_norm(at::stack(norms));
}

void clip_gradients(std::vector<at::Tensor>& gradients, double norm, double limit) {
  if (gradients.empty() || limit <= 0 || norm <= limit) return;
  const at::NoGradGuard no_grad;
  at::_foreach_mul_(gradients, limit / norm);
}

}  // namespace parapet

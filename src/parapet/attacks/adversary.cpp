#include "parapet/attacks/adversary.h"

#include <ATen/ATen.h>

namespace parapet {
namespace {

at::Tensor leaf(const at::Tensor& x) { return x.detach().clone().requires_grad_(true); }

at::Tensor row_norm(const at::Tensor& x) { return x.norm(2, {1}, true).clamp_min(1e-12); }

// Gradients of `loss` with respect to `inputs` only.
void backward_into(const at::Tensor& loss, const std::vector<at::Tensor>& inputs) {
  loss.backward({}, false, false, at::TensorList(inputs));
}

// One step of size `step` along the gradient, the change kept within `epsilon`; rows that are zero
// (an absent side) stay.
at::Tensor embedding_step(const at::Tensor& start, const at::Tensor& x, double step,
                          double epsilon) {
  const at::Tensor gradient = x.grad();
  at::Tensor change = x.detach() - start + gradient / row_norm(gradient) * step;
  change = change * (epsilon / row_norm(change)).clamp_max(1.0);
  const at::Tensor present = start.abs().sum(1, true).gt(0);
  return (start + change) * present;
}

}  // namespace

void AdversaryOptions::visit(OptionList& list) {
  list.add("adversary", kind, "train on inputs changed to raise the loss",
           {"none", "fgm", "pgd", "pixel-fgm", "pixel-pgd"});
  list.add("adversary-epsilon", epsilon,
           "size of the change: L2 on unit embeddings, largest step of a pixel in 0..1");
  list.add("adversary-steps", steps, "steps of pgd");
  list.add("adversary-weight", weight, "weight of the loss on changed inputs");
}

void AdversaryOptions::validate(Problems& problems) const {
  problems.require(epsilon > 0 && epsilon <= 2, "--adversary-epsilon", "must be in (0, 2]");
  problems.require(steps >= 1 && steps <= 100, "--adversary-steps", "must be in 1..100");
  problems.require(weight >= 0, "--adversary-weight", "must be >= 0");
}

std::array<at::Tensor, 2> adversarial_embeddings(const at::Tensor& image, const at::Tensor& text,
                                                 const EmbeddingLoss& loss,
                                                 const AdversaryOptions& options) {
  const int64_t steps = options.iterated() ? options.steps : 1;
  const double step =
      options.iterated() ? 2.5 * options.epsilon / static_cast<double>(steps) : options.epsilon;
  const at::Tensor image_start = image.detach(), text_start = text.detach();
  at::Tensor image_now = image_start, text_now = text_start;
  for (int64_t i = 0; i < steps; ++i) {
    const at::Tensor image_leaf = leaf(image_now), text_leaf = leaf(text_now);
    backward_into(loss(image_leaf, text_leaf), {image_leaf, text_leaf});
    image_now = embedding_step(image_start, image_leaf, step, options.epsilon);
    text_now = embedding_step(text_start, text_leaf, step, options.epsilon);
  }
  return {image_now / row_norm(image_now), text_now / row_norm(text_now)};
}

at::Tensor adversarial_pixels(const at::Tensor& pixels, const PixelLoss& loss,
                              const std::array<float, 3>& mean, const std::array<float, 3>& std,
                              const AdversaryOptions& options) {
  const int64_t steps = options.iterated() ? options.steps : 1;
  const double step =
      options.iterated() ? 2.5 * options.epsilon / static_cast<double>(steps) : options.epsilon;
  const auto channels = [&](const std::array<float, 3>& values) {
    return at::tensor(at::ArrayRef<float>(values.data(), 3)).view({1, 3, 1, 1}).to(pixels.device());
  };
  const at::Tensor scale = channels(std), start = pixels.detach();
  const at::Tensor low = -channels(mean) / scale, high = (1 - channels(mean)) / scale;
  at::Tensor now = start;
  for (int64_t i = 0; i < steps; ++i) {
    const at::Tensor x = leaf(now);
    backward_into(loss(x), {x});
    const at::Tensor moved = x.detach() + x.grad().sign() * (step / scale);
    const at::Tensor budget = options.epsilon / scale;
    now = at::min(at::max(moved, start - budget), start + budget);
    now = at::min(at::max(now, low), high);
  }
  return now;
}

}  // namespace parapet

#include "parapet/methods/safe_clip/validation.h"

#include <ATen/ATen.h>

#include "parapet/nn/contrastive.h"
#include "parapet/training/distributed.h"

namespace parapet {
namespace {

QuadrupletEmbeddings slice(const QuadrupletEmbeddings& all, int64_t begin, int64_t end) {
  return {all.safe_text.slice(0, begin, end), all.unsafe_text.slice(0, begin, end),
          all.safe_image.slice(0, begin, end), all.unsafe_image.slice(0, begin, end)};
}

}  // namespace

ObjectiveInput gather_input(ObjectiveInput input, Communicator& communicator) {
  if (communicator.world_size() == 1) return input;
  auto gather = [&](at::Tensor& x) {
    if (x.defined()) x = communicator.gather(x);
  };
  auto gather_all = [&](QuadrupletEmbeddings& x) {
    for (at::Tensor* part : {&x.safe_text, &x.unsafe_text, &x.safe_image, &x.unsafe_image})
      gather(*part);
  };
  auto gather_row = [&](at::Tensor& x) {
    if (x.defined())
      x = communicator.gather(x.to(at::kFloat).view({-1, 1})).view({-1}).to(x.scalar_type());
  };
  QuadrupletKeys& keys = input.keys;
  if (keys.safe_text.defined()) {
    const at::Tensor all = communicator.gather(
        at::stack({keys.safe_text, keys.unsafe_text, keys.safe_image, keys.unsafe_image}, 1));
    keys = {all.select(1, 0), all.select(1, 1), all.select(1, 2), all.select(1, 3)};
  }
  gather_all(input.tuned);
  gather_all(input.reference);
  for (at::Tensor* x : {&input.target_text, &input.target_text_image, &input.target_image,
                        &input.target_image_text})
    gather(*x);
  for (at::Tensor* x : {&input.difficulty, &input.text_unsafe, &input.image_unsafe}) gather_row(*x);
  return input;
}

std::map<std::string, double> validation_metrics(const Objective& objective,
                                                 const QuadrupletEmbeddings& tuned,
                                                 const QuadrupletEmbeddings& reference,
                                                 const QuadrupletEmbeddings& original,
                                                 const QuadrupletKeys& keys, double logit_scale,
                                                 int64_t chunk) {
  std::map<std::string, double> metrics;
  const int64_t n = tuned.safe_text.size(0);
  double chunks = 0;
  for (int64_t begin = 0; begin < n; begin += chunk) {
    // A last chunk of one row has no negatives.
    const int64_t end = std::min(n, begin + chunk);
    if (end - begin < 2 && begin > 0) break;
    ObjectiveInput input;
    input.tuned = slice(tuned, begin, end);
    input.reference = slice(reference, begin, end);
    const auto part = [&](const at::Tensor& x) { return x.defined() ? x.slice(0, begin, end) : x; };
    input.keys = {part(keys.safe_text), part(keys.unsafe_text), part(keys.safe_image),
                  part(keys.unsafe_image)};
    // Validation asks for the own safe partner, which is what every objective is judged by.
    input.target_text = input.target_image_text = input.reference.safe_text;
    input.target_image = input.target_text_image = input.reference.safe_image;
    input.text_unsafe = input.image_unsafe = at::ones({end - begin}, at::kBool);
    input.logit_scale = logit_scale;
    input.progress = 1.0;
    const StepLoss loss = objective.compute(input);
    metrics["loss"] += loss.total.item<double>();
    for (const auto& term : loss.terms) metrics["term." + term.name] += term.value.item<double>();
    chunks += 1;
  }
  for (auto& [name, value] : metrics) value /= chunks;
  const auto& [s, u, v, g] = tuned;
  using nn::recall_at_1;
  metrics["recall"] = recall_at_1(s, v) + recall_at_1(v, s) + recall_at_1(s, g) +
                      recall_at_1(g, s) + recall_at_1(u, v) + recall_at_1(v, u);
  auto cosine = [](const at::Tensor& x, const at::Tensor& y) {
    return nn::row_cosine(x, y).mean().item<double>();
  };
  metrics["cos.safe_text"] = cosine(s, original.safe_text);
  metrics["cos.unsafe_text"] = cosine(u, original.safe_text);
  metrics["cos.safe_image"] = cosine(v, original.safe_image);
  metrics["cos.unsafe_image"] = cosine(g, original.safe_image);
  return metrics;
}

}  // namespace parapet

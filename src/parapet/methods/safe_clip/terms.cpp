#include "parapet/methods/safe_clip/terms.h"

#include <ATen/ATen.h>

#include "parapet/nn/contrastive.h"

namespace parapet {

at::Tensor cosine_distance(const at::Tensor& x, const at::Tensor& target) {
  return 1.0 - nn::row_cosine(x, target).mean();
}

const std::vector<std::string>& eight_term_names() {
  static const std::vector<std::string> kNames = {"text_safe",   "text_nsfw", "vision_safe",
                                                  "vision_nsfw", "S_Vref",    "U_Vref",
                                                  "V_Sref",      "G_Sref"};
  return kNames;
}

std::vector<at::Tensor> eight_terms(const ObjectiveInput& input) {
  const auto& x = input.tuned;
  const at::Tensor& s0 = input.reference.safe_text;
  const at::Tensor& v0 = input.reference.safe_image;
  const auto& keys = input.keys;
  auto contrast = [&](const at::Tensor& rows, const at::Tensor& row_keys, const at::Tensor& target,
                      const at::Tensor& target_keys) {
    return nn::info_nce(rows, target, input.logit_scale, nn::duplicate_rows(row_keys, target_keys));
  };
  return {cosine_distance(x.safe_text, s0),
          cosine_distance(x.unsafe_text, s0),
          cosine_distance(x.safe_image, v0),
          cosine_distance(x.unsafe_image, v0),
          contrast(x.safe_text, keys.safe_text, v0, keys.safe_image),
          contrast(x.unsafe_text, keys.unsafe_text, v0, keys.safe_image),
          contrast(x.safe_image, keys.safe_image, s0, keys.safe_text),
          contrast(x.unsafe_image, keys.unsafe_image, s0, keys.safe_text)};
}

at::Tensor order_term(const at::Tensor& low, const at::Tensor& high, double sharpness,
                      double margin) {
  return at::softplus(low - high + margin, sharpness).mean();
}

void TermSum::add(const std::string& name, const at::Tensor& value, double weight) {
  names_.push_back(name);
  values_.push_back(value.detach());
  if (weight == 0) return;
  const at::Tensor weighted = value * weight;
  total_ = total_.defined() ? total_ + weighted : weighted;
}

StepLoss TermSum::finish(int64_t samples) && {
  StepLoss loss;
  for (size_t i = 0; i < names_.size(); ++i) loss.terms.push_back({names_[i], values_[i]});
  loss.total = total_;
  loss.samples = samples;
  return loss;
}

}  // namespace parapet

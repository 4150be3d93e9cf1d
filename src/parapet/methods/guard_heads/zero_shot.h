// A harm category from a few sentences, without training: is an image or text nearer to prompts
// that describe the harm than to neutral prompts? Knows no torch.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace parapet {

// Prompt ensemble (Radford et al., arXiv 2103.00020, section 3.1.4): unit prompt embeddings are
// averaged and scaled to unit length, for harm and for neutral prompts apart.
class ZeroShotCategory {
 public:
  // `harmful` and `neutral`: unit rows of `dim` floats, at least one each. `scale` multiplies the
  // cosines, as the model's exp(logit_scale). UsageError on other sizes.
  ZeroShotCategory(std::string name, std::span<const float> harmful, std::span<const float> neutral,
                   int64_t dim, double scale);
  const std::string& name() const { return name_; }
  // sigmoid(scale x (cosine to harmful - cosine to neutral)) of a unit embedding, image or text.
  // Not calibrated: choose its threshold on benign data of one's own.
  double score(std::span<const float> embedding) const;

 private:
  std::string name_;
  std::vector<float> direction_;  // harmful - neutral
  double scale_;
};

// Prompts around a category's description, e.g. "a photo of {}": every template with every
// description.
std::vector<std::string> category_prompts(const std::vector<std::string>& descriptions,
                                          const std::vector<std::string>& templates);

}  // namespace parapet

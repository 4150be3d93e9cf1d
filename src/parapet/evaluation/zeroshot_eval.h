// Zero-shot classification with prompt ensembles: an image is given the class whose averaged prompt
// embedding is nearest.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/data/zeroshot.h"
#include "parapet/engine/encoder/encoder.h"
#include "parapet/evaluation/metric_table.h"

namespace parapet {

// [classes, d]: each class's normalised prompt embeddings averaged over the templates, then
// normalised again (Radford et al. 2021, section 3.1.4).
at::Tensor prompt_ensemble(Encoder& encoder, const ZeroShotSet& set, const Context& context);

// Predicted class per image among the classes on the image's own side (safe objects among safe
// classes, unsafe among unsafe): "24-way" on the sample world. `images` [n, d] belong to the
// selected entries of set.images.
std::vector<int64_t> classify(const at::Tensor& images, const at::Tensor& prompts,
                              const ZeroShotSet& set, const std::vector<int64_t>& selected);

// One model's results on the images of one split, ready for two tables.
struct ZeroShotResult {
  std::vector<int64_t> safe, unsafe;  // indices into set.images
  std::vector<float> safe_hit, unsafe_hit;
};
// Empty lists when the split holds no images.
ZeroShotResult evaluate_zeroshot(Encoder& encoder, const ZeroShotSet& set, const std::string& split,
                                 const Context& context);

}  // namespace parapet

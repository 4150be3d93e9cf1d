#include "parapet/evaluation/zeroshot_eval.h"

#include <ATen/ATen.h>

#include "parapet/core/error.h"
#include "parapet/evaluation/topk.h"

namespace parapet {
namespace {

std::vector<int64_t> classes_of(const ZeroShotSet& set, bool unsafe) {
  std::vector<int64_t> classes;
  for (size_t c = 0; c < set.classes.size(); ++c)
    if (set.classes[c].unsafe == unsafe) classes.push_back(static_cast<int64_t>(c));
  return classes;
}

}  // namespace

at::Tensor prompt_ensemble(Encoder& encoder, const ZeroShotSet& set, const Context& context) {
  std::vector<std::string> texts;
  for (const auto& item : set.classes)
    for (const auto& pattern : set.templates) texts.push_back(fill_template(pattern, item.name));
  const at::Tensor each = encoder.encode_texts(texts, context);
  const at::Tensor mean = each.reshape({static_cast<int64_t>(set.classes.size()),
                                        static_cast<int64_t>(set.templates.size()), each.size(1)})
                              .mean(1);
  return mean / mean.norm(2, 1, true).clamp_min(1e-12);
}

std::vector<int64_t> classify(const at::Tensor& images, const at::Tensor& prompts,
                              const ZeroShotSet& set, const std::vector<int64_t>& selected) {
  std::vector<int64_t> predicted(selected.size(), -1);
  for (const bool unsafe : {false, true}) {
    const std::vector<int64_t> classes = classes_of(set, unsafe);
    std::vector<int64_t> rows;
    for (size_t i = 0; i < selected.size(); ++i)
      if (set.classes[set.images[selected[i]].class_index].unsafe == unsafe)
        rows.push_back(static_cast<int64_t>(i));
    if (rows.empty() || classes.empty()) continue;
    const at::Tensor best = top_k(images.index_select(0, at::tensor(rows, at::kLong)),
                                  prompts.index_select(0, at::tensor(classes, at::kLong)), 1)
                                .indices;
    for (size_t i = 0; i < rows.size(); ++i)
      predicted[rows[i]] = classes[best[static_cast<int64_t>(i)][0].item<int64_t>()];
  }
  return predicted;
}

ZeroShotResult evaluate_zeroshot(Encoder& encoder, const ZeroShotSet& set, const std::string& split,
                                 const Context& context) {
  std::vector<int64_t> selected;
  std::vector<std::string> locations;
  for (size_t i = 0; i < set.images.size(); ++i)
    if (split.empty() || set.images[i].split == split) {
      selected.push_back(static_cast<int64_t>(i));
      locations.push_back(set.images[i].image);
    }
  ZeroShotResult result;
  if (selected.empty()) return result;
  const std::vector<int64_t> predicted =
      classify(encoder.encode_images(locations, context), prompt_ensemble(encoder, set, context),
               set, selected);
  for (size_t i = 0; i < selected.size(); ++i) {
    const int64_t truth = set.images[selected[i]].class_index;
    const bool unsafe = set.classes[truth].unsafe;
    (unsafe ? result.unsafe : result.safe).push_back(selected[i]);
    (unsafe ? result.unsafe_hit : result.safe_hit).push_back(predicted[i] == truth ? 1.0f : 0.0f);
  }
  return result;
}

}  // namespace parapet

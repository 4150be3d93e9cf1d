#include "parapet/cli/guard_scoring.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "parapet/core/error.h"
#include "parapet/evaluation/guard_items.h"

namespace parapet::cli {
namespace {

constexpr int64_t kChunk = 4096;  // rows scored at once

}  // namespace

SampleEmbeddings embed_samples(Encoder& encoder, const std::vector<LabelSample>& samples,
                               const Context& context) {
  std::vector<std::string> images, texts;
  std::vector<int64_t> image_rows, text_rows;
  for (size_t i = 0; i < samples.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    if (!samples[i].image.empty()) images.push_back(samples[i].image), image_rows.push_back(row);
    if (!samples[i].text.empty()) texts.push_back(samples[i].text), text_rows.push_back(row);
  }
  const auto n = static_cast<int64_t>(samples.size());
  SampleEmbeddings out{at::zeros({n, encoder.dim()}), at::zeros({n, encoder.dim()})};
  if (!images.empty())
    out.image.index_copy_(0, at::tensor(image_rows, at::kLong),
                          encoder.encode_images(images, context));
  if (!texts.empty())
    out.text.index_copy_(0, at::tensor(text_rows, at::kLong), encoder.encode_texts(texts, context));
  return out;
}

std::span<const float> rows_of(const at::Tensor& x, int64_t first, int64_t count) {
  return {x.const_data_ptr<float>() + first * x.size(1), static_cast<size_t>(count * x.size(1))};
}

std::vector<GuardScoreRow> score_samples(const GuardHeads& heads, const SampleEmbeddings& embedded,
                                         const std::vector<LabelSample>& samples) {
  const double nan = std::nan("");
  std::vector<GuardScoreRow> rows;
  const auto n = static_cast<int64_t>(samples.size());
  for (int64_t first = 0; first < n; first += kChunk) {
    const int64_t count = std::min(kChunk, n - first);
    const auto scores = heads.score_batch(rows_of(embedded.image, first, count),
                                          rows_of(embedded.text, first, count), count);
    for (int64_t i = 0; i < count; ++i) {
      const LabelSample& sample = samples[static_cast<size_t>(first + i)];
      const bool image = !sample.image.empty(), text = !sample.text.empty();
      const std::array<bool, 3> present = {image, text, image && text};
      GuardScoreRow row{{nan, nan, nan}, {}, nan, nan, nan};
      const GuardScores& s = scores[static_cast<size_t>(i)];
      for (size_t side = 0; side < 3; ++side) {
        if (!present[side]) continue;
        row.harm[side] = s.by_input[side].harm;
        row.categories[side].assign(s.by_input[side].categories.begin(),
                                    s.by_input[side].categories.end());
      }
      if (present[2]) row.contradiction = s.contradiction, row.cosine = s.cosine;
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

std::array<double, 3> harm_aurocs(const GuardHeads& heads, const SampleEmbeddings& embedded,
                                  const std::vector<LabelSample>& samples) {
  GuardEvaluation evaluation;
  evaluation.samples = samples;
  evaluation.categories = heads.categories();
  evaluation.scores = score_samples(heads, embedded, samples);
  const guard_items::Labelled labelled(evaluation);
  std::array<double, 3> aurocs{};
  for (size_t side = 0; side < aurocs.size(); ++side) {
    const ScoredItems items = guard_items::harm_items(labelled, side);
    aurocs[side] = guard_items::both_classes(items) ? RankedItems(items).auroc() : std::nan("");
  }
  return aurocs;
}

std::vector<GateResult> auroc_gates(const GuardHeads& heads,
                                    const std::vector<LabelSample>& samples, double max_drop,
                                    Encoder& reference, Encoder& quantized,
                                    const Context& context) {
  const auto before = harm_aurocs(heads, embed_samples(reference, samples, context), samples);
  const auto after = harm_aurocs(heads, embed_samples(quantized, samples, context), samples);
  std::vector<GateResult> gates;
  for (size_t side = 0; side < before.size(); ++side) {
    const std::string name = guard_items::kSides[side];
    if (std::isnan(before[side])) {
      context.warn("no gate on " + name + " AUROC: the labels lack harmful or benign samples");
      continue;
    }
    const double drop = before[side] - after[side];
    gates.push_back({.name = name + ".auroc_drop",
                     .value = drop,
                     .limit = max_drop,
                     .passed = drop <= max_drop,
                     .reference = before[side],
                     .quantized = after[side]});
  }
  if (gates.empty())
    throw DataError("labelled samples", "hold no side with both harmful and benign samples",
                    "Name another split or data set.");
  return gates;
}

}  // namespace parapet::cli

// From labelled samples to guard scores: embedding, scoring, AUROC, and the gate of `parapet
// quantize` on what int8 costs a guard.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/data/dataset.h"
#include "parapet/engine/encoder/encoder.h"
#include "parapet/engine/quantization/calibrate.h"
#include "parapet/evaluation/evaluate_guard.h"
#include "parapet/methods/guard_heads/heads.h"

namespace parapet::cli {

// Embeddings of samples, float [n, dim]; rows of an absent side are 0.
struct SampleEmbeddings {
  at::Tensor image, text;
};
SampleEmbeddings embed_samples(Encoder& encoder, const std::vector<LabelSample>& samples,
                               const Context& context);

// Rows `first` .. `first + count` of a contiguous float matrix.
std::span<const float> rows_of(const at::Tensor& x, int64_t first, int64_t count);

// Scores with a side's results left out where the sample lacks it.
std::vector<GuardScoreRow> score_samples(const GuardHeads& heads, const SampleEmbeddings& embedded,
                                         const std::vector<LabelSample>& samples);

// AUROC of harm in image, text and pair; not a number where a class is missing.
std::array<double, 3> harm_aurocs(const GuardHeads& heads, const SampleEmbeddings& embedded,
                                  const std::vector<LabelSample>& samples);

// Gates image.auroc_drop, text.auroc_drop, joint.auroc_drop: AUROC of the heads on embeddings of
// `reference` less that on embeddings of `quantized` must be at most `max_drop`. A side without
// harmful or benign samples is left out with a warning; DataError when all are.
std::vector<GateResult> auroc_gates(const GuardHeads& heads,
                                    const std::vector<LabelSample>& samples, double max_drop,
                                    Encoder& reference, Encoder& quantized, const Context& context);

}  // namespace parapet::cli

// CLIP's towers as OpenVINO graphs over our own tensors. They compute what models/clip.cpp
// computes: the last layer works on the pooled rows alone.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "parapet/engine/encoder/clip_patches.h"
#include "parapet/engine/quantization/quantization.h"
#include "parapet/formats/image_processor.h"
#include "parapet/models/clip/clip.h"

namespace ov {
class Model;
}

namespace parapet {

// What a graph shows of the quantization points besides its embeddings; for calibration.
enum class GraphTaps {
  kNone,
  kExtremes,  // two more outputs per point: smallest and largest value per sample and channel [n,
              // c]
  kValues,    // one more output per point: the activation itself [n, t, c]
};

struct ClipGraphOptions {
  const QuantizationRanges* ranges = nullptr;  // null = float
  GraphTaps taps = GraphTaps::kNone;           // in the order of quantization_points()
};

// Input: patches uint8 [n, patches + 1, patch * patch * 3] as write_patches lays them out (row 0
// belongs to the class token and is zero); rescaling, mean and deviation are folded into the
// weights. Output: embeddings [n, dim], not normalised.
std::shared_ptr<ov::Model> vision_graph(const ClipModel& model, const ImageProcessor& processor,
                                        const ClipGraphOptions& options);
// Inputs: embeddings of tokens and positions, float [n, t, width]; the pooled row of each text,
// int32 [n]; the last layer's mask, float [n, 1, 1, t], added to the attention scores (0 up to the
// pooled row, a large negative number behind it). Output as above.
std::shared_ptr<ov::Model> text_graph(const ClipModel& model, const ClipGraphOptions& options);

}  // namespace parapet

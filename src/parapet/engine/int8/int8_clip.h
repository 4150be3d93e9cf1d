// CLIP's towers over the int8 kernels: what vision_graph and text_graph compute with ranges, with
// weights packed once and rows of texts back to back, without padding.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "parapet/core/crew.h"
#include "parapet/engine/int8/int8_walk.h"
#include "parapet/engine/quantization/quantization.h"
#include "parapet/formats/image_processor.h"
#include "parapet/models/clip/clip.h"

namespace parapet {

class Int8Tower {
 public:
  // Why the kernels cannot run this model with these ranges (a width that is not a multiple of 64,
  // layers kept in float, no VNNI); empty = they can.
  static std::string obstacle(const ClipConfig& config, const QuantizationRanges& ranges);

  static Int8Tower vision(const ClipModel& model, const ImageProcessor& processor,
                          const QuantizationRanges& ranges);
  static Int8Tower text(const ClipModel& model, const QuantizationRanges& ranges);

  // Images: patches uint8 [n, patches + 1, bytes] as write_patches lays them out. [n, dim], not
  // normalised. Any number of threads may call.
  at::Tensor run_patches(const at::Tensor& patches, Crew& crew) const;
  // Texts: embeddings float [n, t, width] and the pooled row of each, int32 [n].
  at::Tensor run_embeddings(const at::Tensor& embeddings, const at::Tensor& pooled,
                            Crew& crew) const;

 private:
  explicit Int8Tower(Int8Parts parts) : parts_(std::make_shared<Int8Parts>(std::move(parts))) {}
  std::shared_ptr<const Int8Parts> parts_;
};

}  // namespace parapet

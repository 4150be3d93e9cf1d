// What the CPU backends share beside ClipPipeline: images as raw patches, the tensors that lie
// outside the towers, one identity for both towers.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "parapet/core/files.h"
#include "parapet/engine/encoder/clip_pipeline.h"
#include "parapet/engine/encoder/clip_text_inputs.h"

namespace parapet {

class PatchPipeline : public ClipPipeline {
 public:
  int64_t dim() const override { return config().embedding_dim(); }
  double logit_scale() const override { return side_.logit_scale; }
  std::string identity() const override {
    return sha256_hex(towers_identity_ + preprocessing_hash());
  }

 protected:
  // `towers_identity`: of weights, adapter and precision.
  PatchPipeline(ClipConfig config, ClipAssets assets, EncoderOptions options, ClipSideTensors side,
                std::string towers_identity)
      : ClipPipeline(config, std::move(assets), std::move(options)),
        side_(std::move(side)),
        towers_identity_(std::move(towers_identity)) {}

  at::Tensor new_batch(int64_t count) const override;
  void put(const Image& pixels, at::Tensor& batch, int64_t row) const override;
  // As clip_text_inputs says.
  std::vector<at::Tensor> text_inputs(const at::Tensor& ids) const {
    return clip_text_inputs(config().text, side_, ids);
  }

 private:
  ClipSideTensors side_;
  std::string towers_identity_;
};

}  // namespace parapet

// What the CLIP backends share: decoding ahead of the model, batches of texts of similar length,
// statistics. A backend says how pixels are laid out and runs the towers.
#pragma once
#include <functional>

#include "parapet/engine/encoder/clip_assets.h"
#include "parapet/engine/encoder/encoder.h"
#include "parapet/nn/staging.h"

namespace parapet {

class ClipPipeline : public Encoder {
 public:
  at::Tensor encode_images(const std::vector<std::string>& locations, const Context& context,
                           EncodeStats* stats) override;
  at::Tensor encode_images(std::span<const Image> images, const Context& context,
                           EncodeStats* stats) override;
  Image resized(const Image& image) const override;
  int64_t decode_scale() const override;
  int64_t text_context() const override { return config_.text.max_position_embeddings; }
  at::Tensor encode_texts(const std::vector<std::string>& texts, const Context& context,
                          EncodeStats* stats) override;
  bool thread_safe() const override { return true; }

 protected:
  // `device`: where the towers run.
  ClipPipeline(ClipConfig config, ClipAssets assets, EncoderOptions options,
               at::Device device = at::kCPU);

  // Room in memory for the pixels of `count` images.
  virtual at::Tensor new_batch(int64_t count) const = 0;
  // Writes one resized and cropped image into row `row`. Called from several threads.
  virtual void put(const Image& pixels, at::Tensor& batch, int64_t row) const = 0;
  // Embeddings [n, dim] of a batch on the device, before normalisation.
  virtual at::Tensor run_images(const at::Tensor& batch) = 0;
  // ids int64 [n, t] on the device, padded with the end token.
  virtual at::Tensor run_texts(const at::Tensor& ids) = 0;

  const ClipConfig& config() const { return config_; }
  const ClipAssets& assets() const { return assets_; }
  const EncoderOptions& options() const { return options_; }
  const nn::Staging& staging() const { return staging_; }
  int64_t image_batch() const;
  int64_t text_batch() const;
  // Of tokenizer and image settings, for identity().
  std::string preprocessing_hash() const;

 private:
  using Fetch = std::function<Image(int64_t index)>;
  at::Tensor encode(int64_t count, const Fetch& fetch, const Context& context, EncodeStats* stats);
  void require_vision() const;
  void check(const Image& image) const;

  ClipConfig config_;
  ClipAssets assets_;
  EncoderOptions options_;
  nn::Staging staging_;
};

}  // namespace parapet

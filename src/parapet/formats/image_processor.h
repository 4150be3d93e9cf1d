// CLIP preprocessing as a Hugging Face `preprocessor_config.json` describes it: the same steps and
// rounding as transformers' CLIPImageProcessor (Pillow resize on 8-bit pixels, centre crop,
// rescale, normalise).
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "parapet/formats/image.h"

namespace parapet {

class ImageProcessor {
 public:
  // A `preprocessor_config.json`, or a folder holding one or a `processor_config.json` with an
  // "image_processor" (what transformers 5 saves). DataError: missing file, wrong types, or
  // a field that would change pixels in a way not supported here, named.
  static ImageProcessor load(const std::filesystem::path& model_dir_or_json);
  // OpenAI CLIP's preprocessing at `size` x `size`: bicubic, centre crop, CLIP mean and deviation.
  static ImageProcessor clip_default(int64_t size);
  // `source` names the configuration in errors.
  static ImageProcessor from_json(const nlohmann::json& config, std::string_view source);

  // Of the output. 0 when neither crop nor resize fixes it (then it follows the input).
  int64_t height() const;
  int64_t width() const;
  // What normalise subtracts and divides by, after rescaling (0 and 1 when the config says not to).
  const std::array<float, 3>& mean() const { return mean_; }
  const std::array<float, 3>& std() const { return std_; }
  // 1/255, or 1 when the config says not to rescale.
  double rescale_factor() const { return rescale_; }

  // Resized and cropped 8-bit RGB.
  Image to_pixels(const Image& image) const;
  // (pixel * rescale_factor - mean) / std of an image as it is, to float32 [3, H, W].
  void normalise(const Image& pixels, float* chw) const;
  // For DecodeOptions::scale_for; 0 when scaled decoding would not help.
  int64_t scale_hint() const;
  // The configuration as transformers writes it; from_json reads it back.
  nlohmann::json to_json() const;

 private:
  // Fields 'size' and 'crop_size'; `square`: what an integer size means for the processor class.
  void read_size(const nlohmann::json& config, bool square, const std::string& source);

  bool do_resize_ = true;
  int64_t shortest_edge_ = 224;  // 0 when resize_height_ x resize_width_ is exact
  int64_t resize_height_ = 0;
  int64_t resize_width_ = 0;
  Resample filter_ = Resample::kBicubic;
  bool do_crop_ = true;
  int64_t crop_height_ = 224;
  int64_t crop_width_ = 224;
  bool do_rescale_ = true;
  double rescale_ = 1.0 / 255.0;
  bool do_normalise_ = true;
  std::array<float, 3> mean_{};
  std::array<float, 3> std_{1, 1, 1};
};

}  // namespace parapet

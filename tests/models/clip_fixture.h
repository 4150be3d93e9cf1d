// The golden CLIP (tools/goldens/make_clip_goldens.py) in a folder of its own.
#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "parapet/models/clip/clip.h"
#include "parapet/nn/checkpoint.h"
#include "support/data_error.h"
#include "support/temp_folder.h"

namespace parapet {

inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(PARAPET_SOURCE_DIR) / "tests/goldens/clip" / name;
}

inline std::map<std::string, at::Tensor> golden_tensors(const std::string& name) {
  std::map<std::string, at::Tensor> tensors;
  const TensorArchive archive = TensorArchive::open(golden(name));
  for (const auto& [key, view] : archive.tensors()) tensors[key] = nn::to_tensor(view).clone();
  return tensors;
}

class GoldenClip : public ::testing::Test {
 protected:
  // `variant`: "new" (quick_gelu, end token by id) or "legacy" (gelu, largest id).
  ClipModel load(const std::string& variant = "new", at::ScalarType dtype = at::kFloat) {
    namespace fs = std::filesystem;
    const auto replace = fs::copy_options::overwrite_existing;
    fs::copy_file(golden("model.safetensors"), folder_ / "model.safetensors", replace);
    fs::copy_file(golden("config_" + variant + ".json"), folder_ / "config.json", replace);
    return ClipModel::load(folder_.path(), at::kCPU, dtype);
  }

  test::TempFolder folder_;
  std::map<std::string, at::Tensor> inputs_ = golden_tensors("inputs.safetensors");
  at::Tensor ids_ = inputs_.at("input_ids"), pixels_ = inputs_.at("pixel_values");
};

// Largest absolute difference; infinite for different shapes.
inline double apart(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return INFINITY;
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

// Symmetric cross-entropy of the cosine similarities, as CLIPModel computes it.
inline at::Tensor golden_loss(ClipModel& model, const at::Tensor& ids, const at::Tensor& pixels) {
  const at::Tensor text = model.encode_text(ids), image = model.encode_image(pixels);
  const at::Tensor logits =
      at::mm(text / text.norm(2, {1}, true), (image / image.norm(2, {1}, true)).t()) *
      model.logit_scale().value.exp();
  const at::Tensor labels = at::arange(logits.size(0), at::kLong);
  return (at::cross_entropy_loss(logits, labels) + at::cross_entropy_loss(logits.t(), labels)) / 2;
}

}  // namespace parapet

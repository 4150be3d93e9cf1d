// The golden CLIP of tests/goldens/clip with the hardening goldens of
// tools/goldens/make_safe_clip_goldens.py.
#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "parapet/models/clip/clip.h"
#include "parapet/nn/checkpoint.h"
#include "support/temp_folder.h"

namespace parapet::test {

inline std::filesystem::path goldens() {
  return std::filesystem::path(PARAPET_SOURCE_DIR) / "tests/goldens";
}

inline std::map<std::string, at::Tensor> tensors_of(const std::filesystem::path& file) {
  std::map<std::string, at::Tensor> tensors;
  const TensorArchive archive = TensorArchive::open(file);
  for (const auto& [key, view] : archive.tensors()) tensors[key] = nn::to_tensor(view).clone();
  return tensors;
}

// A copy of its own, so that a test may change it.
inline ClipModel golden_clip() {
  namespace fs = std::filesystem;
  const TempFolder folder;
  fs::copy_file(goldens() / "clip/model.safetensors", folder / "model.safetensors");
  fs::copy_file(goldens() / "clip/config_new.json", folder / "config.json");
  ClipModel model = ClipModel::load(folder.path());
  nn::each_parameter(model,
                     [](const std::string&, nn::Parameter& p) { p.value = p.value.clone(); });
  return model;
}

}  // namespace parapet::test

// Towers saved alone, with and without a projection, on every backend.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "engine/tiny_clip.h"
#include "parapet/engine/encoder/open_encoder.h"
#include "parapet/engine/int8/int8_kernels.h"
#include "parapet/engine/quantization/calibrate.h"

namespace parapet {
namespace {

using test::TempFolder;

// A tower 64 wide beside embeddings of 128: the two cannot be taken for each other.
void write_tower(const std::filesystem::path& folder, ClipKind kind) {
  test::TinyClipShape shape;
  shape.dim = 128;
  ClipConfig config = test::tiny_config(shape);
  config.kind = kind;
  ClipModel model = ClipModel::random(config, 3);
  model.save(folder, test::tokenizer_folder());
  save_json(folder / "preprocessor_config.json",
            ImageProcessor::clip_default(shape.image_size).to_json());
}

class SingleTower : public ::testing::TestWithParam<ClipKind> {
 protected:
  static bool has_text() {
    return GetParam() == ClipKind::kText || GetParam() == ClipKind::kTextWithProjection;
  }
  static int64_t width() {
    const bool bare = GetParam() == ClipKind::kText || GetParam() == ClipKind::kVision;
    return bare ? 64 : 128;
  }
  static at::Tensor embed(Encoder& encoder, const std::filesystem::path& folder) {
    return has_text() ? encoder.encode_texts(test::captions(6), {})
                      : encoder.encode_images(test::write_pictures(folder, 6), {});
  }
};

TEST_P(SingleTower, EmbedsOnEveryBackend) {
  const TempFolder folder;
  write_tower(folder.path(), GetParam());
  EncoderOptions options{.precision = "fp32", .threads = 2};
  const auto torch = open_encoder(folder.path(), options, {});
  EXPECT_EQ(torch->dim(), width());
  const at::Tensor expected = embed(*torch, folder.path());
  ASSERT_EQ(expected.sizes(), (std::vector<int64_t>{6, width()}));
  options.backend = "openvino";
  const auto openvino = open_encoder(folder.path(), options, {});
  EXPECT_EQ(openvino->dim(), width());
  EXPECT_GE((embed(*openvino, folder.path()) * expected).sum(-1).min().item<double>(), 0.9999);
}

TEST_P(SingleTower, EmbedsInInt8) {
  if (!int8::supported()) GTEST_SKIP() << "no AVX-512 VNNI";
  const TempFolder folder;
  write_tower(folder.path(), GetParam());
  CalibrationSet first, second;
  if (has_text()) {
    first.texts = test::captions(12, 1);
    second.texts = test::captions(10, 2);
  } else {
    first.images = test::write_pictures(folder.path(), 12, 100);
    second.images = test::write_pictures(folder.path(), 10, 200);
  }
  calibrate(folder.path(), first, second, {.max_kept = 0}, {}).ranges.save(folder.path());
  const auto native =
      open_encoder(folder.path(), {.backend = "native", .precision = "int8", .threads = 2}, {});
  const auto torch = open_encoder(folder.path(), {.precision = "fp32"}, {});
  EXPECT_EQ(native->dim(), width());
  const at::Tensor cosines = (embed(*native, folder.path()) * embed(*torch, folder.path())).sum(-1);
  EXPECT_GE(cosines.min().item<double>(), 0.95);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SingleTower,
                         ::testing::Values(ClipKind::kText, ClipKind::kTextWithProjection,
                                           ClipKind::kVision, ClipKind::kVisionWithProjection));

}  // namespace
}  // namespace parapet

// The native int8 backend against OpenVINO's int8 and fp32 on the same folder and ranges.
#include "parapet/engine/int8/native_encoder.h"

#include <ATen/ATen.h>
#include <c10/core/Allocator.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "engine/tiny_clip.h"
#include "parapet/core/error.h"
#include "parapet/engine/encoder/open_encoder.h"
#include "parapet/engine/int8/int8_kernels.h"
#include "parapet/engine/openvino/openvino_encoder.h"
#include "parapet/engine/quantization/calibrate.h"

namespace parapet {
namespace {

using test::TempFolder;
using test::TinyClipShape;
using ::testing::HasSubstr;

double mean_cosine(const at::Tensor& a, const at::Tensor& b) {
  return (a * b).sum(-1).mean().item<double>();
}

EncoderOptions options_for(const std::string& backend, const std::string& precision,
                           int64_t threads = 2) {
  EncoderOptions options;
  options.backend = backend;
  options.precision = precision;
  options.threads = threads;
  return options;
}

struct Quantized {
  TempFolder folder;
  CalibrationResult result;
  explicit Quantized(TinyClipShape shape = {}) {
    shape.dim = 64;
    test::write_tiny_clip(folder.path(), shape);
    result = calibrate(
        folder.path(), {test::write_pictures(folder.path(), 12, 100), test::captions(12, 1)},
        {test::write_pictures(folder.path(), 10, 200), test::captions(10, 2)}, {.max_kept = 0}, {});
    result.ranges.save(folder.path());
  }
};
const Quantized& quantized() {
  static const Quantized instance;
  return instance;
}

class NativeEncoder : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!int8::supported()) GTEST_SKIP() << "no AVX-512 VNNI";
  }
};

void expect_agreement(const Quantized& model) {
  const TempFolder pictures;
  const auto images = test::write_pictures(pictures.path(), 9, 300);
  const auto texts = test::captions(9, 3);
  const auto fp32 = open_encoder(model.folder.path(), options_for("openvino", "fp32"), {});
  const auto int8 = open_encoder(model.folder.path(), options_for("openvino", "int8"), {});
  const auto ours = open_encoder(model.folder.path(), options_for("native", "auto"), {});
  EXPECT_EQ(ours->dim(), fp32->dim());
  EXPECT_NEAR(ours->logit_scale(), fp32->logit_scale(), 1e-6);
  const auto compare = [&](const at::Tensor& mine, const at::Tensor& theirs,
                           const at::Tensor& exact, const char* what) {
    // Rounding in other places is all that may differ: as near to fp32 as OpenVINO's int8 is.
    const double loss = 1 - mean_cosine(mine, exact), their_loss = 1 - mean_cosine(theirs, exact);
    EXPECT_LT(loss, 1.3 * their_loss + 1e-4) << what;
    EXPECT_LT(1 - mean_cosine(mine, theirs), 1.3 * their_loss + 1e-4) << what;
  };
  compare(ours->encode_images(images, {}), int8->encode_images(images, {}),
          fp32->encode_images(images, {}), "images");
  compare(ours->encode_texts(texts, {}), int8->encode_texts(texts, {}),
          fp32->encode_texts(texts, {}), "texts");
}

TEST_F(NativeEncoder, AgreesWithOpenVino) { expect_agreement(quantized()); }
TEST_F(NativeEncoder, AgreesWithOpenVinoGelu) {
  expect_agreement(Quantized({.activation = nn::Activation::kGelu}));
}
TEST_F(NativeEncoder, AgreesWithOpenVinoLegacyEndRuleAndOtherHeads) {
  expect_agreement(Quantized({.eos_token_id = 2, .width = 192, .heads = 2}));  // 96 wide
}
// More rows than a block holds, and patches that leave pixels over.
TEST_F(NativeEncoder, AgreesWithOpenVinoOnLongSequences) {
  expect_agreement(Quantized({.layers = 2, .image_size = 45, .patch_size = 4}));
}

// However the work is shared, the sums are the same integers and the floats come in the same order.
TEST_F(NativeEncoder, SameBitsForAnyBatchAndThreads) {
  const TempFolder pictures;
  const auto images = test::write_pictures(pictures.path(), 13, 400);
  const auto texts = test::captions(13, 4);
  const auto reference =
      open_encoder(quantized().folder.path(), options_for("native", "int8", 1), {});
  const at::Tensor image_rows = reference->encode_images(images, {});
  const at::Tensor text_rows = reference->encode_texts(texts, {});
  for (const int64_t threads : {1, 2, 5})
    for (const int64_t batch : {1, 4, 64}) {
      EncoderOptions options = options_for("native", "int8", threads);
      options.batch_images = options.batch_texts = batch;
      const auto encoder = open_encoder(quantized().folder.path(), options, {});
      EXPECT_EQ(encoder->lanes(), threads);
      EXPECT_TRUE(at::equal(encoder->encode_images(images, {}), image_rows)) << threads << batch;
      EXPECT_TRUE(at::equal(encoder->encode_texts(texts, {}), text_rows)) << threads << batch;
    }
}

TEST_F(NativeEncoder, CallsFromManyThreadsAgree) {
  const auto texts = test::captions(7, 5);
  const auto encoder =
      open_encoder(quantized().folder.path(), options_for("native", "int8", 3), {});
  ASSERT_TRUE(encoder->thread_safe());
  const at::Tensor expected = encoder->encode_texts(texts, {});
  std::vector<int> equal(4);
  std::vector<std::thread> threads;
  for (int& slot : equal)
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) slot += at::equal(encoder->encode_texts(texts, {}), expected);
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(equal, std::vector<int>(4, 25));
}

// Memory for one thread only: what other threads ask torch for is refused with torch's own error.
class Miser final : public c10::Allocator {
 public:
  Miser() { c10::SetAllocator(c10::kCPU, this); }
  ~Miser() override { c10::SetAllocator(c10::kCPU, real_); }
  c10::DataPtr allocate(size_t bytes) override {
    if (std::this_thread::get_id() == owner_) return real_->allocate(bytes);
    ++refused;
    TORCH_CHECK(false, "no memory for this thread");
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
  std::atomic<int> refused{0};

 private:
  c10::Allocator* real_ = c10::GetAllocator(c10::kCPU);
  const std::thread::id owner_ = std::this_thread::get_id();
};

// What a helper thread cannot get must not end the process, nor the call: the others do its part.
TEST_F(NativeEncoder, HelpersWithoutMemoryAreDoneWithout) {
  std::vector<Image> images;
  for (uint64_t i = 0; i < 48; ++i) images.push_back(test::picture(i));
  const auto texts = test::captions(48, 6);
  EncoderOptions options = options_for("native", "int8", 3);
  options.decode_threads = 1;
  const auto encoder = open_encoder(quantized().folder.path(), options, {});
  const auto few = std::span<const Image>(images).first(2);
  const at::Tensor rows = encoder->encode_images(images, {});
  const at::Tensor few_rows = encoder->encode_images(few, {});
  const at::Tensor text_rows = encoder->encode_texts(texts, {});
  Miser miser;
  for (int round = 0; round < 200 && miser.refused == 0; ++round) {
    EXPECT_TRUE(at::equal(encoder->encode_images(images, {}), rows));   // blocks
    EXPECT_TRUE(at::equal(encoder->encode_images(few, {}), few_rows));  // shared steps
    EXPECT_TRUE(at::equal(encoder->encode_texts(texts, {}), text_rows));
  }
  EXPECT_GT(miser.refused, 0) << "no helper came";
}

TEST_F(NativeEncoder, NothingInNothingOut) {
  const auto encoder = open_encoder(quantized().folder.path(), options_for("native", "int8"), {});
  EXPECT_EQ(encoder->encode_texts({}, {}).size(0), 0);
  EXPECT_EQ(encoder->encode_images(std::span<const Image>(), {}).size(0), 0);
}

TEST_F(NativeEncoder, HasAnIdentityOfItsOwn) {
  const auto& folder = quantized().folder.path();
  const std::string mine = open_encoder(folder, options_for("native", "int8"), {})->identity();
  EXPECT_EQ(open_encoder(folder, options_for("native", "auto", 1), {})->identity(), mine);
  EXPECT_NE(open_encoder(folder, options_for("openvino", "int8"), {})->identity(), mine);
}

TEST_F(NativeEncoder, QuantizingHoldsItsGateToo) {
  EXPECT_EQ(quantized().result.native_obstacle, "");
  std::vector<std::string> names;
  for (const auto& gate : quantized().result.gates) names.push_back(gate.name);
  EXPECT_THAT(names, ::testing::IsSupersetOf({"native.image.cosine", "native.text.cosine"}));
}

std::string refusal(const std::filesystem::path& folder, const EncoderOptions& options) {
  try {
    open_encoder(folder, options, {});
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST_F(NativeEncoder, SaysWhatItCannotRun) {
  const auto& folder = quantized().folder.path();
  EXPECT_THAT(refusal(folder, options_for("native", "fp32")), HasSubstr("computes in int8"));
  EncoderOptions adapted = options_for("native", "int8");
  adapted.adapter = "somewhere";
  EXPECT_THAT(refusal(folder, adapted), HasSubstr("takes no --adapter"));
  EncoderOptions elsewhere = options_for("native", "int8");
  elsewhere.device = "cuda";
  EXPECT_THAT(refusal(folder, elsewhere), HasSubstr("runs on the CPU"));
  const TempFolder bare;
  test::write_tiny_clip(bare.path());
  EXPECT_THAT(refusal(bare.path(), options_for("native", "int8")), HasSubstr("parapet quantize"));
  EXPECT_EQ(fastest_cpu_backend(bare.path(), {}), "openvino");
  EXPECT_EQ(fastest_cpu_backend(folder, options_for("auto", "fp32")), "openvino");
  EXPECT_EQ(fastest_cpu_backend(folder, options_for("auto", "auto")),
            int8::has_matrix_unit() ? "openvino" : "native");
}

TEST_F(NativeEncoder, LayersKeptInFloatAreOpenVinos) {
  Quantized model;
  model.result.ranges.points.at("text.layers.1.fc1").keep_float = true;
  model.result.ranges.save(model.folder.path());
  EXPECT_THAT(native_obstacle(model.folder.path()), HasSubstr("text.layers.1.fc1"));
  EXPECT_THAT(refusal(model.folder.path(), options_for("native", "int8")),
              HasSubstr("use --backend openvino"));
  EXPECT_EQ(fastest_cpu_backend(model.folder.path(), {}), "openvino");
}

TEST_F(NativeEncoder, RangesOfOtherWeightsAreRefused) {
  const TempFolder other;
  test::write_tiny_clip(other.path(), {.dim = 64}, 9);
  std::filesystem::copy_file(quantized().folder / "quantization.safetensors",
                             other / "quantization.safetensors");
  EXPECT_THROW(open_encoder(other.path(), options_for("native", "int8"), {}), DataError);
}

}  // namespace
}  // namespace parapet

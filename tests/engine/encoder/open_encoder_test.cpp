// Folders that are no CLIP: every backend refuses them alike, before it reads their weights.
#include "parapet/engine/encoder/open_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/engine/int8/native_encoder.h"
#include "parapet/engine/quantization/calibrate.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class OtherFamilies : public ::testing::TestWithParam<const char*> {
 protected:
  // Weights that nobody may look at: they are no safetensors.
  void write(const std::string& config) const {
    write_file_atomic(folder_ / "config.json", config);
    write_file_atomic(folder_ / "model.safetensors", "not to be read");
    write_file_atomic(folder_ / "quantization.safetensors", "not to be read");
  }
  template <class Call>
  std::string refused(Call&& call) const {
    try {
      call();
    } catch (const DataError& error) {
      return error.what();
    }
    return "was not refused";
  }
  std::string opened() const {
    EncoderOptions options;
    options.backend = GetParam();
    return refused([&] { open_encoder(folder_.path(), options, {}); });
  }
  test::TempFolder folder_;
};

constexpr const char* kLlama = R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"]})";

TEST_P(OtherFamilies, ALanguageModelIsNamed) {
  write(kLlama);
  EXPECT_THAT(opened(), AllOf(HasSubstr("config.json"), HasSubstr("family llama"),
                              HasSubstr("embedding images and texts needs one of clip")));
}

TEST_P(OtherFamilies, AnUnknownTypeIsNamedWithTheKnownOnes) {
  write(R"({"model_type": "clap"})");
  EXPECT_THAT(opened(), AllOf(HasSubstr("'model_type' is 'clap'"), HasSubstr("closest is 'clip'"),
                              HasSubstr("llama")));
}

TEST_P(OtherFamilies, AConfigurationWithoutATypeIsNoClip) {
  write("{}");
  EXPECT_THAT(opened(), HasSubstr("has no field 'model_type'"));
}

INSTANTIATE_TEST_SUITE_P(Backends, OtherFamilies, ::testing::Values("torch", "openvino", "native"),
                         [](const auto& info) { return std::string(info.param); });

class LanguageModelFolder : public OtherFamilies {};

TEST_P(LanguageModelFolder, IsRefusedByQuantizationAndTheChoiceOfABackendToo) {
  write(kLlama);
  EXPECT_THAT(refused([&] { calibrate(folder_.path(), {}, {}, {}, {}); }),
              HasSubstr("family llama"));
  EXPECT_THAT(refused([&] { native_obstacle(folder_.path()); }), HasSubstr("family llama"));
}

INSTANTIATE_TEST_SUITE_P(Once, LanguageModelFolder, ::testing::Values("torch"));

}  // namespace
}  // namespace parapet

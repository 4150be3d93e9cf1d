#include "parapet/engine/encoder/model_stamp.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "engine/tiny_clip.h"
#include "parapet/core/error.h"
#include "parapet/engine/encoder/open_encoder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
using test::TempFolder;

TEST(ModelStamp, SeesEveryKindOfChange) {
  const auto changed = [](const auto& change) {
    const TempFolder folder;
    write_file_atomic(folder / "config.json", "{}");
    write_file_atomic(folder / "model.safetensors", "weights");
    const ModelStamp stamp({folder.path()});
    stamp.require_unchanged();
    change(folder.path());
    try {
      stamp.require_unchanged();
    } catch (const DataError&) {
      return true;
    }
    return false;
  };
  EXPECT_FALSE(changed([](const fs::path&) {}));
  EXPECT_FALSE(changed([](const fs::path& f) { write_file_atomic(f / "notes.txt", "x"); }));
  EXPECT_TRUE(changed([](const fs::path& f) { write_file_atomic(f / "config.json", "{}"); }));
  EXPECT_TRUE(changed([](const fs::path& f) { fs::remove(f / "config.json"); }));
  EXPECT_TRUE(changed([](const fs::path& f) { write_file_atomic(f / "merges.txt", ""); }));
  // As large as before, and with the time of before.
  EXPECT_TRUE(changed([](const fs::path& f) {
    const auto time = fs::last_write_time(f / "model.safetensors");
    write_file_atomic(f / "model.safetensors", "WEIGHTS");
    fs::last_write_time(f / "model.safetensors", time);
  }));
}

// The weights are replaced while OpenVINO's graphs are being made from them: the text tower's side
// tensors, and what is compiled later, would come from other weights than the hash that embeddings
// are kept under. A graph of an earlier start that cannot be used is reported just then.
TEST(ModelStamp, AnEncoderDoesNotOpenOnWeightsThatChangeMeanwhile) {
  const TempFolder folder, other, graphs;
  test::write_tiny_clip(folder.path());
  test::write_tiny_clip(other.path(), {}, 2);
  const EncoderOptions options{.backend = "openvino",
                               .precision = "fp32",
                               .threads = 1,
                               .cache_dir = graphs.path().string()};
  open_encoder(folder.path(), options, {});
  for (const auto& file : fs::directory_iterator(graphs.path()))
    write_file_atomic(file.path(), "damaged");
  bool swapped = false;
  Context context;
  context.log_sink = [&](LogLevel level, std::string_view) {
    if (swapped || level != LogLevel::kWarning) return;
    swapped = true;
    fs::rename(other / "model.safetensors", folder / "model.safetensors");
  };
  EXPECT_THROW(open_encoder(folder.path(), options, context), DataError);
  EXPECT_TRUE(swapped);
}

}  // namespace
}  // namespace parapet

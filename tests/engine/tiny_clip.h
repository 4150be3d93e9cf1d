// A small random CLIP folder with CLIP's own tokenizer, and images to feed it.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/core/random.h"
#include "parapet/formats/image.h"
#include "parapet/formats/image_processor.h"
#include "parapet/models/clip/clip.h"
#include "parapet/text/clip_vocabulary.h"
#include "support/temp_folder.h"

namespace parapet::test {

struct TinyClipShape {
  nn::Activation activation = nn::Activation::kQuickGelu;
  int64_t eos_token_id = 49407;
  int64_t layers = 3;
  int64_t width = 64;
  int64_t dim = 48;
  int64_t image_size = 32;
  int64_t patch_size = 8;
  int64_t heads = 0;  // 0 = one per 32 columns
  int64_t positions = 77;
};

inline ClipConfig tiny_config(const TinyClipShape& shape) {
  ClipConfig config;
  config.projection_dim = config.text.projection_dim = config.vision.projection_dim = shape.dim;
  config.text.hidden_size = config.vision.hidden_size = shape.width;
  config.text.intermediate_size = config.vision.intermediate_size = 4 * shape.width;
  config.text.num_attention_heads = config.vision.num_attention_heads =
      shape.heads > 0 ? shape.heads : shape.width / 32;
  config.text.num_hidden_layers = config.vision.num_hidden_layers = shape.layers;
  config.text.hidden_act = config.vision.hidden_act = shape.activation;
  config.text.eos_token_id = shape.eos_token_id;
  config.text.max_position_embeddings = shape.positions;
  config.vision.image_size = shape.image_size;
  config.vision.patch_size = shape.patch_size;
  return config;
}

// CLIP's tokenizer files, made once per process.
inline const std::filesystem::path& tokenizer_folder() {
  static const TempFolder folder;
  static const bool written = [] {
    write_clip_tokenizer(
        std::filesystem::path(PARAPET_SOURCE_DIR) / ".cache/assets/bpe_simple_vocab_16e6.txt.gz",
        folder.path());
    // Faster to read back than tokenizer.json.
    std::filesystem::remove(folder / "tokenizer.json");
    return true;
  }();
  static_cast<void>(written);
  return folder.path();
}

// Writes a whole folder; norms and biases are random too, so that a missing one shows.
inline void write_tiny_clip(const std::filesystem::path& folder, const TinyClipShape& shape = {},
                            uint64_t seed = 1) {
  ClipModel model = ClipModel::random(tiny_config(shape), seed);
  Random random = Random::named(seed, "test.tiny_clip");
  nn::each_parameter(model, [&](const std::string& name, nn::Parameter& parameter) {
    if (name.find("norm") == std::string::npos && !name.ends_with(".bias")) return;
    float* data = parameter.value.data_ptr<float>();
    for (int64_t i = 0; i < parameter.value.numel(); ++i)
      data[i] += static_cast<float>(0.2 * random.normal());
  });
  model.save(folder);
  write_clip_tokenizer(
      std::filesystem::path(PARAPET_SOURCE_DIR) / ".cache/assets/bpe_simple_vocab_16e6.txt.gz",
      folder);
  save_json(folder / "preprocessor_config.json",
            ImageProcessor::clip_default(shape.image_size).to_json());
}

// Smooth colour fields with some noise, all different.
inline Image picture(uint64_t seed, int64_t width = 40, int64_t height = 36) {
  Random random = Random::named(seed, "test.picture");
  Image image{4, 4, {}};
  for (int i = 0; i < 48; ++i) image.rgb.push_back(static_cast<uint8_t>(random.below(256)));
  image = resize_bicubic(image, width, height);
  for (auto& byte : image.rgb)
    byte = static_cast<uint8_t>(std::min<uint64_t>(255, byte + random.below(24)));
  return image;
}

// PNG files; returns their locations.
inline std::vector<std::string> write_pictures(const std::filesystem::path& folder, int64_t count,
                                               uint64_t first_seed = 0) {
  std::vector<std::string> locations;
  for (int64_t i = 0; i < count; ++i) {
    const auto seed = first_seed + static_cast<uint64_t>(i);
    locations.push_back((folder / ("picture" + std::to_string(seed) + ".png")).string());
    write_file_atomic(locations.back(), encode_png(picture(seed), 1));
  }
  return locations;
}

inline std::vector<std::string> captions(int64_t count, uint64_t seed = 0) {
  static const std::vector<std::string> kWords = {"a",   "photo", "of",    "two",  "dogs", "red",
                                                  "cat", "near",  "water", "tree", "blue", "boat"};
  Random random = Random::named(seed, "test.captions");
  std::vector<std::string> texts;
  for (int64_t i = 0; i < count; ++i) {
    std::string text = std::to_string(seed) + " " + std::to_string(i);
    for (int64_t k = random.between(1, 12); k > 0; --k) text += " " + random.pick(kWords);
    texts.push_back(text);
  }
  return texts;
}

}  // namespace parapet::test

// Quadruplets of noise, the golden CLIP for them, and an adapter that has learnt something.
#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>

#include "methods/golden_clip.h"
#include "parapet/core/random.h"
#include "parapet/methods/safe_clip/harden_task.h"
#include "parapet/nn/lora.h"
#include "support/letter_tokenizer.h"

namespace parapet::test {

class HardenTest : public ::testing::Test {
 protected:
  HardenTest() {
    assets_.tokenizer = std::make_shared<LetterTokenizer>();
    assets_.processor = ImageProcessor::clip_default(20);
    pipeline_.tokenizer = assets_.tokenizer;
    pipeline_.pixels = std::make_shared<PixelCache>(*assets_.processor, 1 << 20);
    Random random(5);
    for (int i = 0; i < 23; ++i) {
      Quadruplet item;
      item.id = std::to_string(i);
      item.safe_text = "safe" + std::string(1, static_cast<char>('a' + i));
      item.unsafe_text = "bad" + std::string(1, static_cast<char>('a' + i)) + "!";
      for (auto* location : {&item.safe_image, &item.unsafe_image}) {
        Image image{20, 20, std::vector<uint8_t>(20 * 20 * 3)};
        for (auto& byte : image.rgb) byte = static_cast<uint8_t>(random.below(256));
        *location = (folder_ / (std::to_string(files_++) + ".png")).string();
        std::ofstream(*location, std::ios::binary) << encode_png(image, 1);
      }
      items_.push_back(std::move(item));
    }
  }

  QuadrupletEmbeddings references(ClipModel& model, Communicator& world) {
    const auto encoder = with_pixels(wrap_encoder(model, assets_, {}), *pipeline_.pixels);
    return embed_references(*encoder, items_, world, {});
  }
  // An adapter that has learnt something.
  static ClipModel tuned() {
    ClipModel model = golden_clip();
    nn::add_lora(model, with_targets({}, model), 3);
    const at::NoGradGuard no_grad;
    int64_t number = 0;
    for (auto& [name, tensor] : nn::lora_parameters(model))
      tensor.copy_(at::sin(at::arange(tensor.numel(), at::kFloat) + number++).view(tensor.sizes()))
          .mul_(0.2);
    return model;
  }
  static StepInfo info(Communicator& world) {
    StepInfo out;
    out.total_steps = 10;
    out.communicator = &world;
    return out;
  }

  TempFolder folder_;
  ClipAssets assets_;
  QuadrupletPipeline pipeline_;
  std::vector<Quadruplet> items_;
  int files_ = 0;
};

}  // namespace parapet::test

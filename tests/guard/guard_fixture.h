// A signal with given scores, and pictures to show it.
#pragma once
#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "parapet/formats/image.h"
#include "parapet/guard/guard.h"

namespace parapet::guard::test {

// A plain picture of one grey; `grey` tells a FakeSignal which one it is.
inline Image grey_image(uint8_t grey, int64_t width = 40, int64_t height = 30) {
  return {width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3), grey)};
}
inline std::string grey_png(uint8_t grey) { return encode_png(grey_image(grey)); }

class FakeSignal final : public Signal {
 public:
  std::map<std::string, double> text_scores;   // by category; for texts that contain "harm"
  std::map<std::string, double> image_scores;  // for pictures of a grey above 100
  std::string failure;                         // reason given for every part
  std::string thrown;
  bool ready = true;
  mutable std::atomic<int> calls{0};

  std::string name() const override { return "fake"; }
  std::string version() const override { return "1"; }
  bool scans(Modality modality) const override {
    return modality == Modality::kText ? looks_at_text : looks_at_images;
  }
  bool looks_at_text = true, looks_at_images = true;
  std::vector<std::string> categories() const override {
    std::vector<std::string> names;
    for (const auto* scores : {&text_scores, &image_scores})
      for (const auto& [category, value] : *scores) names.push_back(category);
    return names;
  }
  void score(const SignalInput& input, SignalOutput& output) override {
    ++calls;
    if (!thrown.empty()) throw std::runtime_error(thrown);
    for (const PreparedPart& part : input.parts) {
      if (!failure.empty()) {
        ScanFailure one;
        one.part = part.part;
        one.reason = failure;
        output.failures.push_back(one);
        continue;
      }
      const bool image = part.modality == Modality::kImage;
      const bool harmful =
          image ? part.image->rgb[0] > 100 : part.text.find("harm") != std::string::npos;
      output.scanned.push_back(part.part);
      for (const auto& [category, value] : image ? image_scores : text_scores) {
        Score score;
        score.category = category;
        score.modality = part.modality;
        score.part = part.part;
        score.value = harmful ? value : 0.01;
        score.signal = "fake";
        score.from_ocr = part.from_ocr;
        score.view = part.view;
        output.scores.push_back(score);
      }
    }
  }
  void probe(Clock::time_point /*deadline*/) override {
    if (!ready) throw std::runtime_error("not loaded");
  }
};

}  // namespace parapet::guard::test

// Any image classifier in ONNX form, described by a TOML card: how it wants its pixels and what its
// outputs mean. Runs on OpenVINO; knows no torch.
//
//   name = "opennsfw"
//   model = "open-nsfw.onnx"        # beside the card; '*' matches within one folder name
//   width = 224
//   height = 224
//   layout = "NHWC"
//   classes = ["sfw", "nsfw"]
//   categories = ["", "sexual"]     # reported under these; "" = not reported
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "parapet/core/options.h"
#include "parapet/formats/image.h"

namespace parapet {

struct ClassifierCard {
  std::string name;
  std::string description, license;
  std::string model;                  // ONNX file
  int64_t width = 224, height = 224;  // the model's input
  std::string layout = "NCHW";        // NCHW | NHWC
  std::string channels = "RGB";       // RGB | BGR
  // stretch: to resize_width x resize_height; shortest-edge: keeps the aspect, resize_width is the
  // short side. Then the centre is cropped to width x height.
  std::string resize = "stretch";
  int64_t resize_width = 0, resize_height = 0;  // 0 = width, height
  std::string filter = "bilinear";              // nearest | bilinear | bicubic
  int64_t jpeg_quality = 0;  // > 0: pixels pass through JPEG of this quality, as in training
  // Input value = (pixel * scale - mean) / std, in the order of `channels`.
  double scale = 1.0;
  std::vector<double> mean = {0, 0, 0}, std = {1, 1, 1};
  int64_t output = 0;                // which output of the model
  std::string activation = "none";   // none | softmax | sigmoid: applied to the outputs
  std::vector<std::string> classes;  // one per output value
  std::vector<std::string> categories;
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

struct ClassScore {
  std::string name;      // of the class
  std::string category;  // empty = not one of ours
  float score = 0;       // 0..1
};

class ImageClassifier {
 public:
  struct Options {
    std::filesystem::path model;  // instead of the card's
    int64_t threads = 0;          // 0 = all cores
    int64_t streams = 1;          // images computed side by side
  };
  // UsageError lists what is wrong with the card; DataError when the model cannot be read or its
  // inputs and outputs are not what the card says.
  static std::unique_ptr<ImageClassifier> load(const std::filesystem::path& card,
                                               const Options& options);
  static std::unique_ptr<ImageClassifier> load(const std::filesystem::path& card);
  ~ImageClassifier();

  const ClassifierCard& card() const;
  // SHA-256 over card and model file.
  const std::string& version() const;
  // Classes in the card's order, per image. Thread-safe. DataError on an image without pixels and
  // on outputs that are no probabilities, as logits without an activation are.
  std::vector<ClassScore> score(const Image& image) const;
  std::vector<std::vector<ClassScore>> score(std::span<const Image> images) const;
  // The model's input for one image, as the card lays it out; for tests.
  std::vector<float> input_of(const Image& image) const;

 private:
  struct State;
  explicit ImageClassifier(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// `value` against the card's folder; a '*' in it must match exactly one file. DataError otherwise.
std::filesystem::path resolve_card_path(const std::filesystem::path& card,
                                        const std::string& value);

}  // namespace parapet

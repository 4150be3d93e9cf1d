// Public classifiers on top of CLIP embeddings, described by a TOML card: MLPs (the layout of
// LAION's CLIP-based NSFW detectors), prompt pairs (Q16's two learned prompts, arXiv 2202.06675) or
// a user's own safetensors. Knows no torch.
//
//   name = "laion-nsfw"                       name = "q16"
//   weights = "h14_nsfw.safetensors"          prompts = "prompts.npy"     # [classes, dim]
//   layers = ["layers.0", "layers.3"]         temperature = 100.0
//   activations = ["relu", "none"]            classes = ["safe", "inappropriate"]
//   classes = ["nsfw"]                        categories = ["", "violence"]
//   categories = ["sexual"]
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "parapet/core/options.h"
#include "parapet/engine/classifier/image_classifier.h"

namespace parapet {

struct EmbeddingHeadCard {
  std::string name;
  std::string description, license;
  std::string modality = "image";  // image | text: whose embedding it looks at
  std::string encoder;             // what CLIP it was trained on, for people
  std::string weights;             // safetensors with the layers, or
  std::string prompts;             // .npy [classes, dim]: softmax(temperature * cosine)
  double temperature = 100;
  bool unit_input = true;  // embeddings are L2-normalised before the first layer
  // Names of the linear layers in order ("<name>.weight" [out, in], "<name>.bias" [out]); empty =
  // all of the form "<prefix><number>.weight", by number: then nothing else may be in the file.
  std::vector<std::string> layers;
  // After each layer: none | relu | gelu | sigmoid | softmax. Empty = relu between, sigmoid (one
  // output) or softmax at the end. A last "none" is for a head that regresses on 0 and 1, as
  // LAION's for H/14 does: what it gives is held to 0..1.
  std::vector<std::string> activations;
  std::string input_mean, input_variance;  // tensors [dim] of a normalisation before (Keras)
  std::vector<std::string> classes;
  std::vector<std::string> categories;  // empty string = not reported
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

class EmbeddingHead {
 public:
  // UsageError lists what is wrong with the card; DataError names a missing or mis-shaped tensor.
  static std::unique_ptr<EmbeddingHead> load(const std::filesystem::path& card);
  ~EmbeddingHead();

  const EmbeddingHeadCard& card() const;
  int64_t dim() const;
  const std::string& version() const;  // SHA-256 over card and weights
  // One embedding of dim() values. Thread-safe. UsageError on another width, DataError on values
  // or scores that are not finite.
  std::vector<ClassScore> score(std::span<const float> embedding) const;

 private:
  struct State;
  explicit EmbeddingHead(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace parapet

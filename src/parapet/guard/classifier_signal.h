// An ONNX image classifier by its card, as a signal.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "parapet/engine/classifier/image_classifier.h"
#include "parapet/guard/signal.h"

namespace parapet::guard {

class ClassifierSignal final : public Signal {
 public:
  ClassifierSignal(std::string name, std::unique_ptr<ImageClassifier> classifier)
      : name_("classifier." + name), classifier_(std::move(classifier)) {}

  std::string name() const override { return name_; }
  std::string version() const override { return classifier_->version().substr(0, 16); }
  bool scans(Modality modality) const override { return modality == Modality::kImage; }
  std::vector<std::string> categories() const override;
  void score(const SignalInput& input, SignalOutput& output) override;
  void probe(Clock::time_point deadline) override;

 private:
  std::string name_;
  std::unique_ptr<ImageClassifier> classifier_;
};

}  // namespace parapet::guard

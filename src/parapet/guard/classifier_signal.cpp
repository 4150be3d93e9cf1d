#include "parapet/guard/classifier_signal.h"

#include <algorithm>

#include "parapet/core/error.h"

namespace parapet::guard {

std::vector<std::string> ClassifierSignal::categories() const {
  std::vector<std::string> names;
  for (const std::string& name : classifier_->card().categories)
    if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(name);
  return names;
}

void ClassifierSignal::score(const SignalInput& input, SignalOutput& output) {
  // The newest first: a deadline leaves out the oldest.
  for (auto it = input.parts.rbegin(); it != input.parts.rend(); ++it) {
    const PreparedPart& part = *it;
    if (part.modality != Modality::kImage) continue;
    ScanFailure failure;
    failure.part = part.part;
    failure.level = "classifier";
    if (input.deadline && Clock::now() >= *input.deadline) {
      failure.reason = "deadline";
      failure.detail = name_;
      output.failures.push_back(std::move(failure));
      continue;
    }
    try {
      for (const ClassScore& score : classifier_->score(*part.image)) {
        if (score.category.empty()) continue;
        Score one;
        one.category = score.category;
        one.modality = Modality::kImage;
        one.part = part.part;
        one.view = part.view;
        one.value = std::clamp(static_cast<double>(score.score), 0.0, 1.0);
        one.signal = name_;
        output.scores.push_back(std::move(one));
      }
      output.scanned.push_back(part.part);
    } catch (const DataError& error) {
      failure.reason = "signal_failed";
      failure.detail = name_ + ": " + error.problem();
      output.failures.push_back(std::move(failure));
    }
  }
}

void ClassifierSignal::probe(Clock::time_point /*deadline*/) {
  const Image grey{32, 32, std::vector<uint8_t>(32 * 32 * 3, 128)};
  classifier_->score(grey);
}

}  // namespace parapet::guard

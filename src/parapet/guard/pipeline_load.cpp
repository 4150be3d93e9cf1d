// Loading what a policy names.
#include <algorithm>

#include "parapet/core/error.h"
#include "parapet/core/options.h"
#include "parapet/guard/classifier_signal.h"
#include "parapet/guard/pipeline.h"

namespace parapet::guard {

void Pipeline::load_signals(const GuardOptions& options, ModelStore& models,
                            const Context& context) {
  const ClipOptions& clip = policy_.clip;
  if (clip.enabled) {
    auto encoder = models.encoder(
        {clip.model, {}, clip.backend, clip.precision, options.device, options.threads}, context);
    clip_ = ClipSignal::load(policy_, std::move(encoder), context);
    levels_.push_back({clip_, "clip", clip.fail});
  }
  for (const ClassifierOptions& classifier : policy_.classifiers) {
    auto signal =
        std::make_shared<ClassifierSignal>(classifier.name, ImageClassifier::load(classifier.card));
    for (const std::string& category : signal->categories())
      if (policy_.taxonomy.find(category) == nullptr)
        throw UsageError(classifier.card.string() + ": category '" + category +
                         "' is not in the taxonomy");
    levels_.push_back({std::move(signal), "classifier", classifier.fail});
  }
  for (const auto& signal : options.signals) levels_.push_back({signal, "signal", clip.fail});
  for (const Level& level : levels_)
    versions_.push_back({level.signal->name(), level.signal->version()});
  if (policy_.ocr.enabled) {
    ocr_ = std::make_unique<Ocr>(policy_.ocr);
    versions_.push_back({"ocr", "tesseract " + Ocr::version() + " " + policy_.ocr.languages});
  }
  check_named_thresholds();
  // Smaller decoding only where nothing looks at the picture but the encoder and the hashes.
  if (clip_ && levels_.size() == 1 && !ocr_) scale_for_ = clip_->encoder().batches->decode_scale();
}

void Pipeline::check_named_thresholds() const {
  Problems problems;
  for (const std::string& category : policy_.categories_with_named_thresholds())
    for (const Level& level : levels_) {
      const auto others =
          level.signal == clip_ ? clip_->categories_beside_heads() : level.signal->categories();
      if (std::find(others.begin(), others.end(), category) != others.end())
        problems.add("category '" + category + "'",
                     "has a threshold of the heads by name, but " + level.signal->name() +
                         " scores it too, on a scale of its own; write numbers, or give one of "
                         "them another category");
    }
  problems.throw_if_any("policy " + policy_.source);
}

void Pipeline::load_safe_counterpart(const GuardOptions& options, ModelStore& models,
                                     const Context& context) {
  const ModifyOptions& modify = policy_.modify;
  const auto any = [&](const char* how) { return modify.image == how || modify.text == how; };
  if (!any("replace") && !any("redirect")) return;
  const auto& hardened = policy_.clip.hardened;
  const bool adapter = std::filesystem::exists(hardened / "adapter_config.json");
  // An adapter cannot be merged into an OpenVINO graph of another precision; torch applies it.
  auto encoder = models.encoder(
      {adapter ? policy_.clip.model : hardened, adapter ? hardened : std::filesystem::path(),
       adapter ? "torch" : policy_.clip.backend, policy_.clip.precision, options.device,
       options.threads},
      context);
  counterpart_ = std::make_unique<SafeCounterpart>(
      std::move(encoder), any("replace") ? modify.gallery : std::filesystem::path(), context);
  versions_.push_back({"hardened", counterpart_->version().substr(0, 16)});
}

}  // namespace parapet::guard

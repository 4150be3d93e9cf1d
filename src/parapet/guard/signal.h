// The seam for what scores content: CLIP heads, zero-shot prompts, ONNX classifiers, anything a
// program adds. No tensors here, so that a signal may come from anywhere.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/formats/image.h"
#include "parapet/guard/decision.h"
#include "parapet/guard/request.h"

namespace parapet::guard {

using Embedding = std::vector<float>;  // L2-normalised

// A part that passed the limits; images are decoded once for all signals.
struct PreparedPart {
  int part = -1;  // index into the request
  Modality modality = Modality::kText;
  std::string text;                    // valid UTF-8
  std::string bytes;                   // the encoded image
  std::shared_ptr<const Image> image;  // 8-bit RGB, orientation applied
  std::string sha256;                  // of text or bytes: a cache key
  bool from_ocr = false;               // text read from the image `part`
  bool lists_only = false;  // a text past the policy's number of parts: no signal looks at it
  // Of an image (and of text read from it): empty, or a further view of it (formats/image_views.h),
  // which follows the image itself under the same `part` and has no bytes of its own.
  std::string view;
};

struct SignalInput {
  const GuardRequest& request;
  const std::vector<PreparedPart>& parts;
  std::optional<Clock::time_point> deadline;
};

struct SignalOutput {
  std::vector<Score> scores;
  std::vector<int> scanned;           // parts it looked at
  std::vector<ScanFailure> failures;  // parts it wanted to look at and could not
};

class Signal {
 public:
  virtual ~Signal() = default;
  virtual std::string name() const = 0;     // "clip", "classifier.opennsfw"
  virtual std::string version() const = 0;  // content hash of its weights and card
  // What it can look at; the guard reports parts of other modalities as not its business.
  virtual bool scans(Modality modality) const = 0;
  virtual std::vector<std::string> categories() const = 0;
  // Called from many threads at once. Scores in 0..1. What cannot be scored goes to `failures`; an
  // exception counts as a failure of every part.
  virtual void score(const SignalInput& input, SignalOutput& output) = 0;
  // Throws when it cannot answer (model not loaded, device gone), or not by `deadline`. It
  // computes: an answer from a cache would say nothing. Called by readiness checks.
  virtual void probe(Clock::time_point deadline) {}
};

}  // namespace parapet::guard

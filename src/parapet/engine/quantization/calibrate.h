// Post-training int8 quantization of a CLIP folder: ranges from calibration inputs, smoothing and
// clipping chosen per activation by the error they leave, sensitive layers kept in float, and a
// gate on inputs that calibration never saw.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "parapet/engine/encoder/encoder.h"
#include "parapet/engine/quantization/calibrate_ranges.h"
#include "parapet/engine/quantization/quantization.h"

namespace parapet {

struct CalibrationSet {
  std::vector<std::string> images;  // locations
  std::vector<std::string> texts;
};

struct GateResult {
  std::string name;
  double value = 0, limit = 0;
  bool passed = false;
  // Of each encoder, where `value` compares the two.
  std::optional<double> reference{}, quantized{};
};
// Further conditions on the quantized encoder beside the cosine, e.g. a guard's AUROC.
using QuantizationGate =
    std::function<std::vector<GateResult>(Encoder& reference, Encoder& quantized)>;

struct CalibrateOptions {
  double min_cosine = 0.995;     // gate: mean cosine to fp32 on the held-out inputs, per tower
  double target_cosine = 0.999;  // layers are kept in float until this is reached ...
  double max_kept = 0.25;        // ... or this share of the points is
  int64_t threads = 0;
  std::vector<QuantizationGate> gates;
};

struct CalibrationResult {
  QuantizationRanges ranges;
  std::vector<PointChoice> choices;                // in the order of quantization_points()
  std::vector<float> image_cosines, text_cosines;  // int8 against fp32, per held-out input
  std::vector<GateResult> gates;                   // the cosine gates first, per backend
  std::string native_obstacle;  // why the native backend cannot run them; empty = it can
  double seconds = 0;
  bool passed() const;
};

// UsageError: a tower without inputs. DataError: an input that is in both sets (by content), or
// fewer than 8 of a kind. Failing a gate is not an error here: look at passed().
CalibrationResult calibrate(const std::filesystem::path& folder, const CalibrationSet& calibration,
                            const CalibrationSet& held_out, const CalibrateOptions& options,
                            const Context& context);

}  // namespace parapet

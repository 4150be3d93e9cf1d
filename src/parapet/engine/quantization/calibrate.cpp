#include "parapet/engine/quantization/calibrate.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <set>
#include <thread>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/strings.h"
#include "parapet/engine/encoder/clip_text_inputs.h"
#include "parapet/engine/int8/int8_clip.h"
#include "parapet/engine/int8/native_encoder.h"
#include "parapet/engine/openvino/openvino_clip.h"
#include "parapet/engine/openvino/openvino_encoder.h"
#include "parapet/engine/openvino/openvino_program.h"
#include "parapet/engine/quantization/calibrate_ranges.h"
#include "parapet/engine/torch/torch_encoder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLeastInputs = 8;
// Activations of the sample on which choices are compared, per tower.
constexpr int64_t kSampleBytes = int64_t{160} << 20;

void check_sets(const ClipConfig& config, const CalibrationSet& calibration,
                const CalibrationSet& held_out) {
  auto enough = [](const std::vector<std::string>& items, const char* what) {
    if (static_cast<int64_t>(items.size()) < kLeastInputs)
      throw DataError(what, "are only " + std::to_string(items.size()) + ", at least " +
                                std::to_string(kLeastInputs) + " are needed");
  };
  if (config.has_vision()) {
    enough(calibration.images, "calibration images");
    enough(held_out.images, "held-out images");
  }
  if (config.has_text()) {
    enough(calibration.texts, "calibration texts");
    enough(held_out.texts, "held-out texts");
  }
  std::set<std::string> seen;
  for (const auto& image : calibration.images)
    seen.insert(sha256_hex(read_location(image, DecodeOptions().max_bytes)));
  for (const auto& image : held_out.images)
    if (seen.count(sha256_hex(read_location(image, DecodeOptions().max_bytes))) > 0)
      throw DataError(image, "is held out and used for calibration too",
                      "The two sets must not share an image.");
  const std::set<std::string> texts(calibration.texts.begin(), calibration.texts.end());
  for (const auto& text : held_out.texts)
    if (texts.count(text) > 0)
      throw DataError("text '" + text.substr(0, 60) + "'",
                      "is held out and used for calibration too",
                      "The two sets must not share a text.");
}

// Runs one tower's graph over inputs and shows its points.
class TowerProbe {
 public:
  using Feed = std::function<std::vector<at::Tensor>(int64_t item)>;
  TowerProbe(const ClipModel& model, const ClipAssets& assets, bool vision, int64_t threads)
      : model_(model), assets_(assets), vision_(vision), threads_(threads) {}

  // Inputs of the graph for one item.
  std::vector<at::Tensor> feed(const std::string& item) const {
    if (!vision_) {
      EncodeOptions options;
      options.max_length = model_.config().text.max_position_embeddings;
      const auto ids = assets_.tokenizer->encode(item, options);
      return clip_text_inputs(model_.config().text, {.tokens = tokens(), .positions = positions()},
                              at::tensor(at::ArrayRef<int32_t>(ids)).to(at::kLong).unsqueeze(0));
    }
    const ClipVisionConfig& config = model_.config().vision;
    at::Tensor patches =
        at::empty({1, config.patches() + 1, 3 * config.patch_size * config.patch_size}, at::kByte);
    write_patches(assets_.processor->to_pixels(load_image(item)), config.patch_size,
                  patches.data_ptr<uint8_t>());
    return {patches};
  }

  std::unique_ptr<OpenVinoProgram> program(GraphTaps taps, const Context& context) const {
    const ClipGraphOptions options{.taps = taps};
    return OpenVinoProgram::compile(
        [&] {
          return vision_ ? vision_graph(model_, *assets_.processor, options)
                         : text_graph(model_, options);
        },
        "", {.threads = threads_}, context);
  }

  // Stacked weights [out, c] of the layers that read a point.
  at::Tensor weights(const std::string& point) const {
    const auto parts = split(point, '.');  // vision.layers.0.qkv
    const std::string layer =
        (model_.bare_names() ? "" : parts[0] + "_model.") + "encoder.layers." + parts[2] + ".";
    std::vector<std::string> names = {"mlp." + parts[3]};
    if (parts[3] == "qkv") names = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
    if (parts[3] == "out") names = {"self_attn.out_proj"};
    std::vector<at::Tensor> found;
    for (const auto& name : names) found.push_back(parameter(layer + name + ".weight"));
    return at::cat(found).to(at::kFloat);
  }

 private:
  at::Tensor parameter(const std::string& wanted) const {
    at::Tensor value;
    nn::each_parameter(model_, [&](const std::string& name, const nn::Parameter& parameter) {
      if (name == wanted) value = parameter.value.detach();
    });
    if (!value.defined()) throw Error(ErrorKind::kInternal, "no weight " + wanted);
    return value;
  }
  at::Tensor table(const std::string& name) const {
    return parameter((model_.bare_names() ? "" : "text_model.") + name);
  }
  at::Tensor tokens() const { return table("embeddings.token_embedding.weight"); }
  at::Tensor positions() const { return table("embeddings.position_embedding.weight"); }

  const ClipModel& model_;
  const ClipAssets& assets_;
  bool vision_;
  int64_t threads_;
};

using Points = std::vector<std::pair<std::string, int64_t>>;

// The points of one tower.
Points tower_points(const ClipConfig& config, const std::string& tower) {
  Points points;
  for (const auto& point : quantization_points(config))
    if (point.first.starts_with(tower + ".")) points.push_back(point);
  return points;
}

std::vector<ChannelExtremes> measure_extremes(const TowerProbe& probe, const Points& points,
                                              const std::vector<std::string>& items,
                                              const Context& context) {
  const auto program = probe.program(GraphTaps::kExtremes, context);
  std::vector<ChannelExtremes> extremes(points.size());
  Progress progress(context, "calibration", static_cast<int64_t>(items.size()), "inputs");
  int64_t done = 0;
  for (const auto& item : items) {
    if (context.cancelled()) throw Cancelled("stopped while calibrating");
    const auto outputs = program->run(probe.feed(item));
    for (size_t p = 0; p < points.size(); ++p)
      extremes[p].add(outputs[1 + 2 * p], outputs[2 + 2 * p]);
    progress.update(++done);
  }
  return extremes;
}

// Activations of a few inputs at every point, [rows, c] each.
std::vector<at::Tensor> sample_values(const TowerProbe& probe, const Points& points,
                                      const std::vector<std::string>& items,
                                      const Context& context) {
  const auto program = probe.program(GraphTaps::kValues, context);
  std::vector<std::vector<at::Tensor>> values(points.size());
  int64_t bytes = 0;
  for (size_t i = 0; i < items.size() && i < 16 && bytes < kSampleBytes; ++i) {
    const auto outputs = program->run(probe.feed(items[i]));
    for (size_t p = 0; p < points.size(); ++p) {
      values[p].push_back(outputs[1 + p].reshape({-1, points[p].second}));
      bytes += static_cast<int64_t>(values[p].back().nbytes());
    }
  }
  std::vector<at::Tensor> samples;
  for (const auto& parts : values) samples.push_back(at::cat(parts));
  return samples;
}

void calibrate_tower(const TowerProbe& probe, const Points& points,
                     const std::vector<std::string>& items, const Context& context,
                     CalibrationResult& result) {
  const auto extremes = measure_extremes(probe, points, items, context);
  const auto samples = sample_values(probe, points, items, context);
  for (size_t p = 0; p < points.size(); ++p) {
    if (context.cancelled()) throw Cancelled("stopped while calibrating");
    const std::string& name = points[p].first;
    QuantizationPoint& point = result.ranges.points[name];
    const RangeShape shape = name.ends_with(".fc2") ? RangeShape::kFull : RangeShape::kSymmetric;
    const bool score = name.ends_with(".q") || name.ends_with(".k");
    PointChoice choice =
        score ? choose_range(samples[p], extremes[p], point)
              : choose_point(samples[p], probe.weights(name), extremes[p], shape, point);
    choice.name = name;
    result.choices.push_back(choice);
  }
}

std::vector<float> cosines(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor values = (a * b).sum(-1).contiguous();
  return {values.data_ptr<float>(), values.data_ptr<float>() + values.numel()};
}

double mean(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) /
         static_cast<double>(std::max<size_t>(1, values.size()));
}

// Keeps the `count` worst points of a tower in float.
void keep_worst(CalibrationResult& result, const std::string& tower, int64_t count) {
  std::vector<PointChoice*> choices;
  for (auto& choice : result.choices)
    if (choice.name.starts_with(tower + ".")) choices.push_back(&choice);
  std::stable_sort(choices.begin(), choices.end(),
                   [](const auto* a, const auto* b) { return a->error > b->error; });
  for (size_t i = 0; i < choices.size(); ++i) {
    choices[i]->kept_float = static_cast<int64_t>(i) < count;
    result.ranges.points[choices[i]->name].keep_float = choices[i]->kept_float;
  }
}

// Grows the set of float layers per tower until the target is met; leaves the agreement and the
// gates in `result`.
void fit_to_held_out(const fs::path& folder, const ClipConfig& config,
                     const CalibrationSet& held_out, const CalibrateOptions& options,
                     const Context& context, CalibrationResult& result) {
  EncoderOptions encoder{.backend = "openvino",
                         .precision = "fp32",
                         .batch_images = 16,
                         .batch_texts = 16,
                         .threads = options.threads};
  const auto reference = open_openvino_encoder(folder, encoder, context);
  at::Tensor images, texts;
  if (config.has_vision()) images = reference->encode_images(held_out.images, context);
  if (config.has_text()) texts = reference->encode_texts(held_out.texts, context);
  const auto limit = [&](const char* tower) {
    return static_cast<int64_t>(options.max_kept *
                                static_cast<double>(tower_points(config, tower).size()));
  };
  int64_t kept_vision = 0, kept_text = 0;
  std::unique_ptr<Encoder> quantized;
  for (;;) {
    quantized = open_openvino_encoder(folder, result.ranges, encoder, context);
    bool again = false;
    auto grow = [&](const char* tower, const std::vector<float>& agreement, int64_t most,
                    int64_t& kept) {
      if (mean(agreement) >= options.target_cosine || kept >= most) return;
      kept = std::min(most, std::max<int64_t>(1, kept * 2));
      keep_worst(result, tower, kept);
      again = true;
    };
    if (config.has_vision()) {
      result.image_cosines = cosines(quantized->encode_images(held_out.images, context), images);
      grow("vision", result.image_cosines, limit("vision"), kept_vision);
    }
    if (config.has_text()) {
      result.text_cosines = cosines(quantized->encode_texts(held_out.texts, context), texts);
      grow("text", result.text_cosines, limit("text"), kept_text);
    }
    if (!again) break;
  }
  auto gate = [&](const char* name, const std::vector<float>& agreement) {
    const double value = mean(agreement);
    result.gates.push_back({name, value, options.min_cosine, value >= options.min_cosine});
  };
  if (config.has_vision()) gate("image.cosine", result.image_cosines);
  if (config.has_text()) gate("text.cosine", result.text_cosines);
  // Both backends compute the same sums but round in different places: each has its gate.
  result.native_obstacle = Int8Tower::obstacle(config, result.ranges);
  std::unique_ptr<Encoder> native;
  if (result.native_obstacle.empty()) {
    native = open_native_encoder(folder, result.ranges, encoder, context);
    if (config.has_vision())
      gate("native.image.cosine", cosines(native->encode_images(held_out.images, context), images));
    if (config.has_text())
      gate("native.text.cosine", cosines(native->encode_texts(held_out.texts, context), texts));
  }
  // Further gates look at what a guard on this machine would use.
  Encoder& deployed = native && !int8::has_matrix_unit() ? *native : *quantized;
  for (const auto& extra : options.gates)
    for (GateResult& further : extra(*reference, deployed))
      result.gates.push_back(std::move(further));
}

}  // namespace

bool CalibrationResult::passed() const {
  return std::all_of(gates.begin(), gates.end(), [](const auto& gate) { return gate.passed; });
}

CalibrationResult calibrate(const fs::path& folder, const CalibrationSet& calibration,
                            const CalibrationSet& held_out, const CalibrateOptions& options,
                            const Context& context) {
  const auto start = std::chrono::steady_clock::now();
  const ClipConfig config = load_clip_config(folder);
  check_sets(config, calibration, held_out);
  CalibrationResult result;
  result.ranges.weights_hash = weights_file_hash(folder);
  {
    c10::InferenceMode inference;
    ClipModel model = ClipModel::load(folder);
    const ClipAssets assets = load_clip_assets(folder, config);
    if (config.has_vision())
      calibrate_tower(TowerProbe(model, assets, true, options.threads),
                      tower_points(config, "vision"), calibration.images, context, result);
    if (config.has_text())
      calibrate_tower(TowerProbe(model, assets, false, options.threads),
                      tower_points(config, "text"), calibration.texts, context, result);
  }
  fit_to_held_out(folder, config, held_out, options, context, result);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace parapet

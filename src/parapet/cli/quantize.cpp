// parapet quantize: int8 ranges for a CLIP folder, with a gate.
#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "parapet/cli/command.h"
#include "parapet/cli/guard_scoring.h"
#include "parapet/cli/guard_support.h"
#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/random.h"
#include "parapet/core/strings.h"
#include "parapet/core/text_encoding.h"
#include "parapet/data/dataset.h"
#include "parapet/engine/cache/cached_encoder.h"
#include "parapet/engine/quantization/calibrate.h"
#include "parapet/evaluation/bootstrap.h"
#include "parapet/evaluation/report.h"
#include "parapet/evaluation/report_html.h"
#include "parapet/models/model_folder.h"

namespace parapet::cli {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> lines;
  for (const std::string& line : split(read_text_file(file), '\n'))
    if (const auto text = trim(line); !text.empty()) lines.emplace_back(text);
  return lines;
}

// Images and captions of a data set directory (captions.jsonl, else quadruplets.jsonl).
CalibrationSet from_data_set(const fs::path& folder, const std::string& split_name) {
  CalibrationSet all;
  if (fs::exists(folder / "captions.jsonl"))
    for (const auto& sample : load_captions(folder, split_name)) {
      if (!sample.image.empty()) all.images.push_back(sample.image);
      if (!sample.text.empty()) all.texts.push_back(sample.text);
    }
  LoadOptions load;
  load.require_images = false;
  if (fs::exists(folder / "quadruplets.jsonl"))
    for (const auto& sample : load_quadruplets(folder, split_name, load)) {
      for (const auto* image : {&sample.safe_image, &sample.unsafe_image})
        if (!image->empty()) all.images.push_back(*image);
      for (const auto* text : {&sample.safe_text, &sample.unsafe_text}) all.texts.push_back(*text);
    }
  if (all.images.empty() && all.texts.empty())
    throw DataError(folder.string(),
                    "holds no captions or quadruplets of split '" + split_name + "'",
                    "Name another with --split; empty = all.");
  return all;
}

std::string content_of(const std::string& image) {
  return sha256_hex(read_location(image, int64_t{64} << 20));
}

// Shuffles, leaves out repeats (by content), and cuts into `first` and `second` items, or into
// halves where there are fewer.
void share_out(std::vector<std::string> items, bool images, Random random, int64_t first,
               int64_t second, std::vector<std::string>& one, std::vector<std::string>& two) {
  random.shuffle(items);
  std::set<std::string> seen;
  std::vector<std::string> kept;
  for (const std::string& item : items) {
    if (static_cast<int64_t>(kept.size()) >= first + second) break;
    if (seen.insert(images ? content_of(item) : item).second) kept.push_back(item);
  }
  const auto count = static_cast<int64_t>(kept.size());
  const auto cut = kept.begin() + (count < first + second ? count / 2 : first);
  one.assign(kept.begin(), cut);
  two.assign(cut, kept.end());
}

// The gate on AUROC measures inputs that the ranges were not fitted to.
void require_not_calibrated(const CalibrationSet& calibration,
                            const std::vector<LabelSample>& samples, const std::string& source) {
  std::set<std::string> images;
  for (const auto& image : calibration.images) images.insert(content_of(image));
  const std::set<std::string> texts(calibration.texts.begin(), calibration.texts.end());
  int64_t shared_images = 0, shared_texts = 0;
  for (const LabelSample& sample : samples) {
    shared_images += !sample.image.empty() && images.contains(content_of(sample.image));
    shared_texts += !sample.text.empty() && texts.contains(sample.text);
  }
  if (shared_images + shared_texts == 0) return;
  throw UsageError(
      "--labels: " + std::to_string(shared_images) + " pictures and " +
      std::to_string(shared_texts) + " texts of " + source +
      " are among the inputs that calibrate, so that its gate would measure what the "
      "ranges were fitted to. Name other calibration inputs or another --labels-split.");
}

class Quantize final : public Command {
 public:
  void visit(OptionList& list) override {
    list.require("model", model_, "Hugging Face CLIP folder");
    list.add("calibration", data_, "data set folder whose images and captions calibrate");
    list.add("split", split_, "of the data set; empty = all");
    list.add("images", images_, "instead of a data set: file with one image path per line");
    list.add("texts", texts_, "instead of a data set: file with one text per line");
    list.require("out", out_, "folder to write: the model's files, ranges, report");
    list.add("samples", samples_, "inputs per tower that calibrate");
    list.add("held-out", held_out_, "other inputs per tower that the result is checked on");
    list.add("min-cosine", calibrate_.min_cosine,
             "gate: least mean cosine to fp32 on the held-out inputs");
    list.add("target-cosine", calibrate_.target_cosine,
             "sensitive layers stay in float until this is reached");
    list.add("max-kept", calibrate_.max_kept, "largest share of layers that may stay in float");
    list.add("heads", heads_, "second gate: run of 'train guard' on this model, or heads folder");
    list.add("labels", labels_, "data set folder with labels.jsonl that the second gate uses");
    list.add("labels-split", labels_split_, "its split; heads must not have been trained on it");
    list.add("max-auroc-drop", max_auroc_drop_,
             "gate: most AUROC that image, text and pair scores may lose against fp32");
  }

  void validate(Problems& problems) const override {
    problems.require(data_.empty() != (images_.empty() && texts_.empty()),
                     "--calibration, --images, --texts",
                     "give either a data set folder, or files that list images and texts");
    for (const auto& [name, value] : {std::pair("--samples", samples_), {"--held-out", held_out_}})
      problems.require(value >= 8 && value <= 100000, name, "must be in 8..100000");
    for (const auto& [name, value] : {std::pair("--min-cosine", calibrate_.min_cosine),
                                      {"--target-cosine", calibrate_.target_cosine},
                                      {"--max-kept", calibrate_.max_kept},
                                      {"--max-auroc-drop", max_auroc_drop_}})
      problems.require(value >= 0 && value <= 1, name, "must be in 0..1");
    problems.require(heads_.empty() == labels_.empty(), "--heads, --labels",
                     "belong together: give both or neither");
    problems.require(!labels_split_.empty(), "--labels-split", "must not be empty");
  }

  nlohmann::json run(const Session& session) override;

  void check_gate() const override {
    if (!failed_.empty())
      throw CheckFailed("parapet quantize: gate not met: " + failed_ + ". See " + out_ +
                        "/report.html; no ranges were written.");
  }

 private:
  CalibrationSet gather() const;
  QuantizationGate guard_gate(const Session& session, const CalibrationSet& calibration) const;
  Report make_report(const CalibrationResult& result, const Session& session) const;
  void copy_model() const;

  std::string model_, data_, split_ = "train", images_, texts_, out_;
  int64_t samples_ = 128, held_out_ = 128;
  std::string heads_, labels_, labels_split_ = "test";
  double max_auroc_drop_ = 0.002;
  CalibrateOptions calibrate_;
  std::string failed_;  // gates that were not met
};

// Everything that can be wrong with heads and labels is found here, before any computing.
QuantizationGate Quantize::guard_gate(const Session& session,
                                      const CalibrationSet& calibration) const {
  const fs::path folder = find_heads(heads_);
  auto heads = std::make_shared<const GuardHeads>(GuardHeads::load(folder));
  heads->check_model(model_content_key(model_), model_);
  LoadOptions options;
  options.check_images = true;
  options.context = session.context;
  auto samples = load_labels(labels_, labels_split_, options);
  require_samples(samples.size(), labels_, "labels.jsonl", labels_split_);
  require_unseen(folder, samples, labels_, session.context);
  require_not_calibrated(calibration, samples, labels_);
  return [heads, samples = std::move(samples), drop = max_auroc_drop_, context = session.context](
             Encoder& reference, Encoder& quantized) {
    return auroc_gates(*heads, samples, drop, reference, quantized, context);
  };
}

CalibrationSet Quantize::gather() const {
  if (!data_.empty()) return from_data_set(data_, split_);
  CalibrationSet all;
  if (!images_.empty())
    for (const auto& line : lines_of(images_))
      all.images.push_back(
          resolve_location(fs::exists(line) ? fs::path() : fs::path(images_).parent_path(), line));
  if (!texts_.empty()) all.texts = lines_of(texts_);
  return all;
}

// All that defines the model, so that the copy has its content key.
void Quantize::copy_model() const {
  if (fs::exists(out_) && fs::equivalent(model_, out_)) return;
  for (const auto& entry : fs::directory_iterator(model_)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file() && defines_model(name))
      copy_file_atomic(entry.path(), fs::path(out_) / name);
  }
}

Report Quantize::make_report(const CalibrationResult& result, const Session& session) const {
  Report report;
  report.kind = "quantization";
  report.title = "int8 quantization of " + model_;
  report.run = run_record(run_info(session, {{"model", model_}}));
  for (const auto& [name, values] :
       {std::pair("image", &result.image_cosines), {"text", &result.text_cosines}}) {
    if (values->empty()) continue;
    const auto count = static_cast<int64_t>(values->size());
    const at::Tensor row = at::tensor(*values).unsqueeze(0);
    report.metrics.emplace_back(std::string(name) + ".cosine", bootstrap_means(row)[0]);
    const double least = *std::min_element(values->begin(), values->end());
    report.metrics.emplace_back(std::string(name) + ".cosine_min",
                                Estimate{least, least, least, count});
  }
  Table gates{.name = "gates",
              .title = "Gates",
              .note = "",
              .columns = {"gate", "value", "limit", "passed", "fp32", "int8"},
              .rows = {}};
  const auto plain = [](double value) { return Estimate{value, value, value, 1}; };
  const auto cell = [&](const std::optional<double>& value) {
    return value ? Cell(plain(*value)) : Cell(std::string("-"));
  };
  for (const auto& gate : result.gates) {
    gates.rows.push_back({gate.name, plain(gate.value), plain(gate.limit),
                          std::string(gate.passed ? "yes" : "no"), cell(gate.reference),
                          cell(gate.quantized)});
    if (gate.reference) report.metrics.emplace_back(gate.name, plain(gate.value));
  }
  Table points{.name = "points",
               .title = "Activations",
               .note =
                   "Relative squared error of the layers that read each one, the strength of "
                   "smoothing and the share of the range that left the smallest.",
               .columns = {"activation", "error", "smoothing", "range", "kept"},
               .rows = {}};
  for (const auto& choice : result.choices)
    points.rows.push_back({choice.name, format_number(choice.error, 6),
                           format_number(choice.alpha, 1), format_number(choice.clip, 1),
                           std::string(choice.kept_float ? "float" : "int8")});
  report.tables = {gates, points};
  return report;
}

nlohmann::json Quantize::run(const Session& session) {
  const CalibrationSet all = gather();
  CalibrationSet calibration, held_out;
  const auto seed = static_cast<uint64_t>(session.common.seed);
  share_out(all.images, true, Random::named(seed, "quantize.images"), samples_, held_out_,
            calibration.images, held_out.images);
  share_out(all.texts, false, Random::named(seed, "quantize.texts"), samples_, held_out_,
            calibration.texts, held_out.texts);
  calibrate_.threads = session.common.threads;
  if (!heads_.empty()) calibrate_.gates = {guard_gate(session, calibration)};
  const CalibrationResult result =
      calibrate(model_, calibration, held_out, calibrate_, session.context);
  fs::create_directories(out_);
  write_report(out_, make_report(result, session));
  nlohmann::json gates = nlohmann::json::object();
  for (const auto& gate : result.gates) {
    gates[gate.name] = {{"value", gate.value}, {"limit", gate.limit}, {"passed", gate.passed}};
    if (gate.reference) gates[gate.name]["fp32"] = *gate.reference;
    if (gate.quantized) gates[gate.name]["int8"] = *gate.quantized;
    const std::string line = gate.name + " " + format_number(gate.value, 5) + " (limit " +
                             format_number(gate.limit, 5) + ")";
    session.print(line);
    if (!gate.passed) failed_ += (failed_.empty() ? "" : "; ") + line;
  }
  int64_t kept = 0;
  for (const auto& choice : result.choices) kept += choice.kept_float ? 1 : 0;
  if (failed_.empty()) {
    copy_model();
    result.ranges.save(out_);
    session.print(std::to_string(result.choices.size() - static_cast<size_t>(kept)) + " of " +
                  std::to_string(result.choices.size()) + " activations in int8; " + out_);
  } else {
    fs::remove(fs::path(out_) / "quantization.safetensors");
  }
  return {
      {"out", out_},
      {"passed", failed_.empty()},
      {"gates", gates},
      {"points", result.choices.size()},
      {"kept_float", kept},
      {"calibration", {{"images", calibration.images.size()}, {"texts", calibration.texts.size()}}},
      {"held_out", {{"images", held_out.images.size()}, {"texts", held_out.texts.size()}}},
      {"seconds", result.seconds}};
}

}  // namespace

CommandEntry quantize_command() {
  return {
      "quantize", "int8 ranges for a CLIP model, checked against fp32",
      "Measures ranges on calibration inputs, then compares int8 with fp32 embeddings on inputs "
      "that calibration never saw. Writes a folder that `parapet embed --backend openvino "
      "--precision int8` and the guard run: the model's own files, quantization.safetensors, "
      "report.json and report.html. With --heads and --labels it also measures what int8 costs "
      "guard heads in AUROC, on samples that they were not trained or calibrated on. Exit 4 when a "
      "gate fails.\n\nExamples:\n"
      "  parapet quantize --model M --calibration world/ --out M-int8\n"
      "  parapet quantize --model M --images list.txt --texts captions.txt --out M-int8\n"
      "  parapet quantize --model M --calibration W --heads out/guard --labels W --out M-int8",
      [] { return std::make_unique<Quantize>(); }};
}

}  // namespace parapet::cli

#include "parapet/engine/classifier/image_classifier.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/engine/classifier/read_card.h"
#include "parapet/engine/openvino/openvino_program.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

// How far beyond 0..1 a probability may lie.
constexpr float kRounding = 1e-3F;

Resample filter_of(const std::string& name) {
  if (name == "nearest") return Resample::kNearest;
  return name == "bicubic" ? Resample::kBicubic : Resample::kBilinear;
}

// 8-bit pixels at the model's size.
Image fitted(const ClassifierCard& card, const Image& image) {
  int64_t width = card.resize_width > 0 ? card.resize_width : card.width;
  int64_t height = card.resize_height > 0 ? card.resize_height : card.height;
  if (card.resize == "shortest-edge") {
    const int64_t side =
        card.resize_width > 0 ? card.resize_width : std::max(card.width, card.height);
    const int64_t least = std::min(image.width, image.height);
    width = image.width * side / least;
    height = image.height * side / least;
  }
  Image out = resize_crop(image, width, height, filter_of(card.filter), (width - card.width) / 2,
                          (height - card.height) / 2, card.width, card.height);
  if (card.jpeg_quality > 0)
    out = decode_image(encode_jpeg(out, static_cast<int>(card.jpeg_quality)), "pixels");
  return out;
}

void write_input(const ClassifierCard& card, const Image& pixels, float* to) {
  const int64_t area = card.width * card.height;
  const bool planar = card.layout == "NCHW", reversed = card.channels == "BGR";
  for (int c = 0; c < 3; ++c) {
    const int from = reversed ? 2 - c : c;
    const auto mean = static_cast<float>(card.mean[static_cast<size_t>(c)]);
    const auto deviation = static_cast<float>(card.std[static_cast<size_t>(c)]);
    const auto scale = static_cast<float>(card.scale);
    for (int64_t i = 0; i < area; ++i) {
      const float value = static_cast<float>(pixels.rgb[static_cast<size_t>(i * 3 + from)]);
      to[planar ? c * area + i : i * 3 + c] = (value * scale - mean) / deviation;
    }
  }
}

void apply(const std::string& activation, std::vector<float>& values) {
  if (activation == "sigmoid") {
    for (float& value : values) value = 1 / (1 + std::exp(-value));
  } else if (activation == "softmax") {
    const float top = *std::max_element(values.begin(), values.end());
    float sum = 0;
    for (float& value : values) sum += value = std::exp(value - top);
    for (float& value : values) value /= sum;
  }
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape)
    text += (text.empty() ? "" : ", ") + (size < 0 ? std::string("?") : std::to_string(size));
  return "[" + text + "]";
}

// The model's ports against the card.
void check_ports(const ClassifierCard& card, const OpenVinoProgram& program,
                 const std::string& source) {
  if (program.inputs().size() != 1)
    throw DataError(
        source, "has " + std::to_string(program.inputs().size()) + " inputs, a classifier has one");
  const auto& input = program.inputs()[0].shape;
  const std::vector<int64_t> wanted = card.layout == "NCHW"
                                          ? std::vector<int64_t>{1, 3, card.height, card.width}
                                          : std::vector<int64_t>{1, card.height, card.width, 3};
  bool fits = input.size() == 4;
  for (size_t i = 0; fits && i < 4; ++i) fits = input[i] < 0 || input[i] == wanted[i];
  if (!fits)
    throw DataError(source, "takes " + shape_text(input) + ", the card says " + shape_text(wanted),
                    "Check width, height and layout in the card.");
  if (card.output >= static_cast<int64_t>(program.outputs().size()))
    throw DataError(source, "has " + std::to_string(program.outputs().size()) +
                                " outputs, the card asks for number " +
                                std::to_string(card.output));
  const auto& output = program.outputs()[static_cast<size_t>(card.output)].shape;
  if (!output.empty() && output.back() >= 0 &&
      output.back() != static_cast<int64_t>(card.classes.size()))
    throw DataError(source, "gives " + std::to_string(output.back()) + " values, the card names " +
                                std::to_string(card.classes.size()) + " classes");
}

}  // namespace

struct ImageClassifier::State {
  ClassifierCard card;
  std::string version;
  std::unique_ptr<OpenVinoProgram> program;
  bool batches = false;  // the model takes any number of images
};

ImageClassifier::ImageClassifier(std::unique_ptr<State> state) : state_(std::move(state)) {}
ImageClassifier::~ImageClassifier() = default;

std::unique_ptr<ImageClassifier> ImageClassifier::load(const fs::path& card) {
  return load(card, Options());
}

std::unique_ptr<ImageClassifier> ImageClassifier::load(const fs::path& card,
                                                       const Options& options) {
  auto state = std::make_unique<State>();
  state->card = read_card<ClassifierCard>(card);
  const fs::path model =
      options.model.empty() ? resolve_card_path(card, state->card.model) : options.model;
  OpenVinoSettings settings;
  settings.threads = options.threads;
  settings.streams = options.streams;
  state->program = OpenVinoProgram::load_onnx(model, settings);
  check_ports(state->card, *state->program, model.string());
  state->batches = state->program->inputs()[0].shape[0] < 0;
  state->version = sha256_hex(sha256_file(card) + sha256_file(model));
  return std::unique_ptr<ImageClassifier>(new ImageClassifier(std::move(state)));
}

const ClassifierCard& ImageClassifier::card() const { return state_->card; }
const std::string& ImageClassifier::version() const { return state_->version; }

std::vector<float> ImageClassifier::input_of(const Image& image) const {
  std::vector<float> input(static_cast<size_t>(state_->card.width * state_->card.height * 3));
  write_input(state_->card, fitted(state_->card, image), input.data());
  return input;
}

std::vector<ClassScore> ImageClassifier::score(const Image& image) const {
  return score(std::span<const Image>(&image, 1))[0];
}

std::vector<std::vector<ClassScore>> ImageClassifier::score(std::span<const Image> images) const {
  const ClassifierCard& card = state_->card;
  std::vector<std::vector<ClassScore>> all;
  const size_t group = state_->batches ? images.size() : 1;
  for (size_t begin = 0; begin < images.size(); begin += group) {
    const auto count = static_cast<int64_t>(std::min(group, images.size() - begin));
    at::Tensor input = card.layout == "NCHW"
                           ? at::empty({count, 3, card.height, card.width}, at::kFloat)
                           : at::empty({count, card.height, card.width, 3}, at::kFloat);
    for (int64_t i = 0; i < count; ++i) {
      const Image& image = images[begin + static_cast<size_t>(i)];
      if (image.width < 1 || image.height < 1 ||
          image.rgb.size() != static_cast<size_t>(image.width * image.height * 3))
        throw DataError("image", "is empty or its pixels do not fit its size");
      write_input(card, fitted(card, image), input.data_ptr<float>() + i * input.stride(0));
    }
    const at::Tensor output =
        state_->program->run({input})[static_cast<size_t>(card.output)].reshape({count, -1});
    if (output.size(1) != static_cast<int64_t>(card.classes.size()))
      throw DataError(card.name, "gives " + std::to_string(output.size(1)) + " values for " +
                                     std::to_string(card.classes.size()) + " classes");
    for (int64_t i = 0; i < count; ++i) {
      const float* row = output.const_data_ptr<float>() + i * output.size(1);
      std::vector<float> values(row, row + output.size(1));
      apply(card.activation, values);
      std::vector<ClassScore> scores;
      for (size_t k = 0; k < values.size(); ++k) {
        if (!std::isfinite(values[k]))
          throw DataError(card.name, "gave a score that is not finite");
        if (values[k] < -kRounding || values[k] > 1 + kRounding)
          throw DataError(card.name,
                          "gave " + std::to_string(values[k]) + " for class '" + card.classes[k] +
                              "', which is no probability",
                          "Set 'activation' in the card: softmax, or sigmoid.");
        scores.push_back({card.classes[k], card.categories[k], std::clamp(values[k], 0.0F, 1.0F)});
      }
      all.push_back(std::move(scores));
    }
  }
  return all;
}

}  // namespace parapet

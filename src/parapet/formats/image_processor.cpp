#include "parapet/formats/image_processor.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "parapet/core/error.h"
#include "parapet/core/json.h"

namespace parapet {
namespace {

using nlohmann::json;

constexpr std::array<float, 3> kClipMean = {0.48145466f, 0.4578275f, 0.40821073f};
constexpr std::array<float, 3> kClipStd = {0.26862954f, 0.26130258f, 0.27577711f};
constexpr int64_t kMaxSide = 16384;

// Fields that are read below, or never change pixel values.
bool known_field(const std::string& field) {
  static const std::set<std::string> fields = {"do_resize",
                                               "size",
                                               "resample",
                                               "do_center_crop",
                                               "crop_size",
                                               "do_rescale",
                                               "rescale_factor",
                                               "do_normalize",
                                               "image_mean",
                                               "image_std",
                                               "do_convert_rgb",
                                               "use_square_size",
                                               "do_pad",
                                               "pad_size",
                                               "default_to_square",
                                               "image_processor_type",
                                               "feature_extractor_type",
                                               "processor_class",
                                               "data_format",
                                               "input_data_format",
                                               "return_tensors",
                                               "device",
                                               "use_fast",
                                               "disable_grouping",
                                               "_valid_processor_keys",
                                               "auto_map",
                                               "image_seq_length"};
  return fields.contains(field);
}

// Processors whose steps are exactly resize, crop, rescale, normalise.
bool known_type(std::string_view type) {
  for (const std::string_view suffix : {"Fast", "Pil"})
    if (type.ends_with(suffix)) type.remove_suffix(suffix.size());
  static const std::set<std::string_view> types = {"",
                                                   "CLIPImageProcessor",
                                                   "CLIPFeatureExtractor",
                                                   "ViTImageProcessor",
                                                   "ViTFeatureExtractor",
                                                   "SiglipImageProcessor",
                                                   "ChineseCLIPImageProcessor",
                                                   "AltCLIPImageProcessor"};
  return types.contains(type);
}

std::string type_of(const json& config, const std::string& source) {
  return json_field_or<std::string>(
      config, "image_processor_type",
      json_field_or<std::string>(config, "feature_extractor_type", "", source), source);
}

// Transformers' defaults where the class differs from CLIP's would make silent differences, so
// other classes must state every field.
bool is_clip(const std::string& type) { return type.empty() || type.starts_with("CLIP"); }

int64_t side(const json& object, std::string_view field, const std::string& source) {
  const int64_t value = json_field<int64_t>(object, field, source);
  if (value < 1 || value > kMaxSide)
    throw DataError(source, "field '" + std::string(field) + "' must be 1.." +
                                std::to_string(kMaxSide) + ", not " + std::to_string(value));
  return value;
}

std::array<float, 3> triple(const json& config, std::string_view field,
                            const std::array<float, 3>& fallback, const std::string& source) {
  const auto it = config.find(field);
  if (it == config.end() || it->is_null()) return fallback;
  if (it->is_number()) {
    const auto value = it->get<float>();
    return {value, value, value};
  }
  const auto values = json_field<std::vector<double>>(config, field, source);
  if (values.size() != 3)
    throw DataError(source, "field '" + std::string(field) + "' must have 3 numbers, not " +
                                std::to_string(values.size()));
  return {static_cast<float>(values[0]), static_cast<float>(values[1]),
          static_cast<float>(values[2])};
}

void check_fields(const json& config, const std::string& source) {
  if (!config.is_object()) throw DataError(source, "must be a JSON object");
  const std::string type = type_of(config, source);
  if (!known_type(type))
    throw DataError(source,
                    "field 'image_processor_type' is '" + type +
                        "', whose preprocessing Parapet does not implement",
                    "CLIPImageProcessor and its kin are supported.");
  for (const auto& [field, value] : config.items())
    // An unknown step that is switched off does nothing.
    if (!known_field(field) && !value.is_null() && value != false)
      throw DataError(source, "field '" + field + "' is not understood and may change the result",
                      "Remove it if it has no effect.");
  if (json_field_or<bool>(config, "do_pad", false, source))
    throw DataError(source, "field 'do_pad' is true, which is not supported for fixed-size input");
  if (is_clip(type)) return;
  for (const char* field :
       {"do_resize", "size", "resample", "do_rescale", "do_normalize", "image_mean", "image_std"})
    if (!config.contains(field))
      throw DataError(source, "field '" + std::string(field) + "' is missing",
                      "Defaults are known for CLIPImageProcessor only: state it.");
}

}  // namespace

ImageProcessor ImageProcessor::clip_default(int64_t size) {
  ImageProcessor processor;
  processor.shortest_edge_ = processor.crop_height_ = processor.crop_width_ = size;
  processor.mean_ = kClipMean;
  processor.std_ = kClipStd;
  return processor;
}

ImageProcessor ImageProcessor::load(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return from_json(load_json(path), path.string());
  // Like transformers 5, which saves a whole processor as one file and prefers it.
  const auto whole = path / "processor_config.json";
  if (std::filesystem::exists(whole)) {
    const json config = load_json(whole);
    if (config.is_object() && config.contains("image_processor"))
      return from_json(config["image_processor"], whole.string() + ": field 'image_processor'");
  }
  const auto file = path / "preprocessor_config.json";
  return from_json(load_json(file), file.string());
}

ImageProcessor ImageProcessor::from_json(const json& config, std::string_view name) {
  const std::string source(name);
  check_fields(config, source);
  ImageProcessor p = clip_default(224);
  p.do_resize_ = json_field_or<bool>(config, "do_resize", true, source);
  const bool clip = is_clip(type_of(config, source));
  p.do_crop_ = json_field_or<bool>(config, "do_center_crop", clip, source);
  p.read_size(config, !clip, source);
  const int64_t resample = json_field_or<int64_t>(config, "resample", 3, source);
  if (resample != 0 && resample != 2 && resample != 3)
    throw DataError(source, "field 'resample' is " + std::to_string(resample) +
                                ": only 0 (nearest), 2 (bilinear) and 3 (bicubic) are supported");
  p.filter_ = static_cast<Resample>(resample);
  p.do_rescale_ = json_field_or<bool>(config, "do_rescale", true, source);
  p.do_normalise_ = json_field_or<bool>(config, "do_normalize", true, source);
  p.rescale_ =
      p.do_rescale_ ? json_field_or<double>(config, "rescale_factor", 1.0 / 255.0, source) : 1.0;
  p.mean_ = p.do_normalise_ ? triple(config, "image_mean", kClipMean, source)
                            : std::array<float, 3>{0, 0, 0};
  p.std_ = p.do_normalise_ ? triple(config, "image_std", kClipStd, source)
                           : std::array<float, 3>{1, 1, 1};
  if (std::any_of(p.std_.begin(), p.std_.end(), [](float value) { return !(value > 0); }))
    throw DataError(source, "field 'image_std' must be positive");
  return p;
}

void ImageProcessor::read_size(const json& config, bool square, const std::string& source) {
  if (const auto it = config.find("size"); it != config.end() && !it->is_null()) {
    const std::string place = source + ": field 'size'";
    if (it->is_number_integer()) {
      shortest_edge_ = side(config, "size", source);
      square = json_field_or<bool>(config, "default_to_square", square, source) ||
               json_field_or<bool>(config, "use_square_size", false, source);
      if (square) resize_height_ = resize_width_ = std::exchange(shortest_edge_, 0);
    } else if (it->is_object() && it->size() == 1 && it->contains("shortest_edge")) {
      shortest_edge_ = side(*it, "shortest_edge", place);
    } else if (it->is_object() && it->size() == 2 && it->contains("height")) {
      shortest_edge_ = 0;
      resize_height_ = side(*it, "height", place);
      resize_width_ = side(*it, "width", place);
    } else {
      throw DataError(place, "is " + it->dump().substr(0, 100) +
                                 ": only an integer, {shortest_edge} or {height, width} is read");
    }
  }
  if (const auto it = config.find("crop_size"); it != config.end() && !it->is_null()) {
    const bool dict = it->is_object();
    const std::string place = source + ": field 'crop_size'";
    crop_height_ = dict ? side(*it, "height", place) : side(config, "crop_size", source);
    crop_width_ = dict ? side(*it, "width", place) : crop_height_;
  }
}

int64_t ImageProcessor::height() const {
  return do_crop_ ? crop_height_ : do_resize_ ? resize_height_ : 0;
}
int64_t ImageProcessor::width() const {
  return do_crop_ ? crop_width_ : do_resize_ ? resize_width_ : 0;
}

Image ImageProcessor::to_pixels(const Image& image) const {
  int64_t width = image.width;
  int64_t height = image.height;
  if (do_resize_ && shortest_edge_ == 0) {
    width = resize_width_;
    height = resize_height_;
  } else if (do_resize_) {
    const int64_t shorter = std::min(width, height);
    const int64_t longer = std::max(width, height);
    if (shorter <= 0) throw UsageError("ImageProcessor: the image has no pixels");
    // transformers' integer rounding: int(size * long / short) in double.
    const auto scaled = static_cast<int64_t>(static_cast<double>(shortest_edge_ * longer) /
                                             static_cast<double>(shorter));
    if (scaled > int64_t{1} << 30)
      throw DataError("image of " + std::to_string(width) + " x " + std::to_string(height),
                      "is too elongated to resize", "Crop it first.");
    std::tie(width, height) =
        width <= height ? std::pair(shortest_edge_, scaled) : std::pair(scaled, shortest_edge_);
  }
  const bool resizes = width != image.width || height != image.height;
  if (!do_crop_) return resizes ? resize(image, width, height, filter_) : image;
  // Floor division, then one more pixel of padding on the left when the difference is odd.
  const auto start = [](int64_t have, int64_t want) {
    return have >= want ? (have - want) / 2 : -((want - have + 1) / 2);
  };
  const int64_t left = start(width, crop_width_);
  const int64_t top = start(height, crop_height_);
  if (!resizes) return crop(image, left, top, crop_width_, crop_height_);
  return resize_crop(image, width, height, filter_, left, top, crop_width_, crop_height_);
}

void ImageProcessor::normalise(const Image& pixels, float* chw) const {
  // 256 values per channel: a table is exact and cheaper than arithmetic.
  const auto count = static_cast<size_t>(pixels.width * pixels.height);
  for (size_t c = 0; c < 3; ++c) {
    std::array<float, 256> table;
    for (size_t v = 0; v < 256; ++v)
      table[v] = (static_cast<float>(static_cast<double>(v) * rescale_) - mean_[c]) / std_[c];
    const uint8_t* in = pixels.rgb.data() + c;
    float* out = chw + c * count;
    for (size_t i = 0; i < count; ++i) out[i] = table[in[3 * i]];
  }
}

int64_t ImageProcessor::scale_hint() const {
  if (!do_resize_ || filter_ == Resample::kNearest) return 0;
  return shortest_edge_ > 0 ? shortest_edge_ : std::max(resize_height_, resize_width_);
}

json ImageProcessor::to_json() const {
  json config = {{"image_processor_type", "CLIPImageProcessor"},
                 {"do_resize", do_resize_},
                 {"resample", static_cast<int>(filter_)},
                 {"do_center_crop", do_crop_},
                 {"crop_size", {{"height", crop_height_}, {"width", crop_width_}}},
                 {"do_rescale", do_rescale_},
                 {"rescale_factor", rescale_},
                 {"do_normalize", do_normalise_},
                 {"image_mean", mean_},
                 {"image_std", std_},
                 {"do_convert_rgb", true}};
  if (shortest_edge_ > 0)
    config["size"] = {{"shortest_edge", shortest_edge_}};
  else
    config["size"] = {{"height", resize_height_}, {"width", resize_width_}};
  return config;
}

}  // namespace parapet

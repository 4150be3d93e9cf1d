#include <glob.h>

#include <cmath>

#include "parapet/core/error.h"
#include "parapet/engine/classifier/image_classifier.h"

namespace parapet {

namespace fs = std::filesystem;

void ClassifierCard::visit(OptionList& list) {
  list.add("name", name, "of the signal");
  list.add("description", description, "what the model was trained to see");
  list.add("license", license, "of the model");
  list.add("model", model, "ONNX file, relative to the card");
  list.add("width", width, "of the model's input");
  list.add("height", height, "of the model's input");
  list.add("layout", layout, "of the model's input", {"NCHW", "NHWC"});
  list.add("channels", channels, "order of colours", {"RGB", "BGR"});
  list.add("resize", resize, "before the centre crop", {"stretch", "shortest-edge"});
  list.add("resize-width", resize_width, "stretch: width; shortest-edge: short side; 0 = width");
  list.add("resize-height", resize_height, "stretch: height; 0 = height");
  list.add("filter", filter, "of the resize", {"nearest", "bilinear", "bicubic"});
  list.add("jpeg-quality", jpeg_quality, "pixels pass through JPEG of this quality; 0 = no");
  list.add("scale", scale, "of pixels, before mean and std");
  list.add("mean", mean, "subtracted, per channel");
  list.add("std", std, "divided by, per channel");
  list.add("output", output, "which output of the model, from 0");
  list.add("activation", activation, "applied to the output", {"none", "softmax", "sigmoid"});
  list.add("classes", classes, "name of each output value");
  list.add("categories", categories, "category of each class; empty = not reported");
}

void ClassifierCard::validate(Problems& problems) const {
  problems.require(!name.empty(), "name", "is missing");
  problems.require(!model.empty(), "model", "is missing: the ONNX file");
  problems.require(width >= 8 && width <= 4096, "width", "must be in 8..4096");
  problems.require(height >= 8 && height <= 4096, "height", "must be in 8..4096");
  problems.require(resize_width == 0 || (resize_width >= width && resize_width <= 8192),
                   "resize_width", "must be 0 or in width..8192");
  problems.require(resize_height == 0 || (resize_height >= height && resize_height <= 8192),
                   "resize_height", "must be 0 or in height..8192");
  problems.require(resize != "shortest-edge" || resize_height == 0, "resize_height",
                   "has no meaning with resize = \"shortest-edge\"");
  problems.require(jpeg_quality >= 0 && jpeg_quality <= 100, "jpeg_quality", "must be in 0..100");
  problems.require(std::isfinite(scale) && scale != 0, "scale", "must be a number other than 0");
  problems.require(mean.size() == 3, "mean", "must have 3 values");
  problems.require(std.size() == 3, "std", "must have 3 values");
  for (const double value : std) problems.require(value > 0, "std", "must be > 0");
  problems.require(output >= 0 && output < 64, "output", "must be in 0..63");
  problems.require(!classes.empty(), "classes", "is missing: a name per output value");
  problems.require(categories.empty() || categories.size() == classes.size(), "categories",
                   "must have as many values as classes");
}

fs::path resolve_card_path(const fs::path& card, const std::string& value) {
  const fs::path path =
      fs::path(value).is_absolute() ? fs::path(value) : card.parent_path() / value;
  if (value.find('*') == std::string::npos) {
    if (!fs::is_regular_file(path))
      throw DataError(card.string(), "names '" + path.string() + "', which is not there");
    return path;
  }
  glob_t found{};
  const int status = ::glob(path.c_str(), 0, nullptr, &found);
  const size_t count = status == 0 ? found.gl_pathc : 0;
  const fs::path first = count > 0 ? fs::path(found.gl_pathv[0]) : fs::path();
  ::globfree(&found);
  if (count != 1)
    throw DataError(card.string(), "names '" + path.string() + "', which matches " +
                                       std::to_string(count) + " files instead of one");
  return first;
}

}  // namespace parapet

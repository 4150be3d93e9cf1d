// parapet embed: images and texts to embeddings.
#include <ATen/ATen.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "parapet/cli/run_support.h"
#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/engine/encoder/open_encoder.h"
#include "parapet/nn/checkpoint.h"
#include "parapet/text/text_file.h"

namespace parapet::cli {
namespace {

namespace fs = std::filesystem;

bool is_image_name(const fs::path& path) {
  static const std::vector<std::string> kExtensions = {".jpg", ".jpeg", ".png", ".webp", ".gif"};
  const std::string extension = to_lower_ascii(path.extension().string());
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

// A folder: its images in name order. An image: itself. Another file: one location per line,
// relative ones against the file's folder when they do not exist from here.
std::vector<std::string> image_locations(const std::string& value) {
  std::vector<std::string> locations;
  if (fs::is_directory(value)) {
    for (const auto& entry : fs::recursive_directory_iterator(value))
      if (entry.is_regular_file() && is_image_name(entry.path()))
        locations.push_back(entry.path().string());
    std::sort(locations.begin(), locations.end());
    if (locations.empty())
      throw DataError(value, "holds no image", "Known: .jpg .jpeg .png .webp .gif.");
    return locations;
  }
  if (is_image_name(value)) return {value};
  for (auto& line : read_texts(value)) {
    if (trim(line).empty()) continue;
    const fs::path beside = fs::path(value).parent_path() / line;
    const std::string file = line.substr(
        0, line.find(".tar#") == std::string::npos ? std::string::npos : line.find(".tar#") + 4);
    if (fs::path(line).is_relative() && !fs::exists(file))
      locations.push_back(beside.string());
    else
      locations.push_back(std::move(line));
  }
  return locations;
}

class Embed final : public Command {
 public:
  void visit(OptionList& list) override {
    list.require("model", model_, "Hugging Face CLIP folder");
    list.add("images", images_, "image, folder of images, or file with one path per line");
    list.add("texts", texts_,
             "file with one text per line, or .jsonl of strings or {\"text\": ...}");
    list.require("out", out_, "safetensors file to write: image_embeds, text_embeds");
    encoder_.visit(list);
  }

  void validate(Problems& problems) const override {
    problems.require(!images_.empty() || !texts_.empty(), "--images, --texts",
                     "give at least one of them");
    problems.require(encoder_.batch_images >= 1 && encoder_.batch_images <= 65536, "--batch-images",
                     "must be in 1..65536");
    problems.require(encoder_.batch_texts >= 1 && encoder_.batch_texts <= 65536, "--batch-texts",
                     "must be in 1..65536");
  }

  nlohmann::json run(const Session& session) override {
    // Inputs first: a mistake there should not cost a model load.
    const auto locations = images_.empty() ? std::vector<std::string>{} : image_locations(images_);
    const auto texts = texts_.empty() ? std::vector<std::string>{} : read_texts(texts_);
    const auto encoder =
        open_encoder(model_, with_common(session.common, encoder_), session.context);
    nn::NamedTensors tensors;
    nlohmann::json result = {{"out", out_}, {"dim", encoder->dim()}};
    auto report = [&](const char* name, const EncodeStats& stats) {
      result[name] = {{"count", stats.items},
                      {"seconds", stats.seconds},
                      {"per_second", stats.items / std::max(stats.seconds, 1e-9)}};
      session.print(std::to_string(stats.items) + " " + name + " in " +
                    format_number(stats.seconds, 2) + " s, " +
                    format_number(stats.items / std::max(stats.seconds, 1e-9), 1) + "/s");
    };
    if (!images_.empty()) {
      EncodeStats stats;
      tensors.emplace_back("image_embeds",
                           encoder->encode_images(locations, session.context, &stats));
      report("images", stats);
    }
    if (!texts_.empty()) {
      EncodeStats stats;
      tensors.emplace_back("text_embeds", encoder->encode_texts(texts, session.context, &stats));
      report("texts", stats);
    }
    nn::save_tensors(out_, tensors);
    return result;
  }

 private:
  std::string model_, images_, texts_, out_;
  EncoderOptions encoder_;
};

}  // namespace

CommandEntry embed_command() {
  return {"embed", "images and texts to CLIP embeddings",
          "Writes image_embeds [n, d] and text_embeds [n, d], float32, L2-normalised, in input "
          "order.\n\nExamples:\n"
          "  parapet embed --model clip-vit-base-patch32 --images photos/ --out e.safetensors\n"
          "  parapet embed --model M --texts captions.txt --images list.txt --out e.safetensors",
          [] { return std::make_unique<Embed>(); }};
}

}  // namespace parapet::cli

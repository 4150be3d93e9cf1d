#include "parapet/guard/explain.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "parapet/core/strings.h"
#include "parapet/core/utf8.h"
#include "parapet/data/icon_set.h"

namespace parapet::guard {
namespace {

constexpr int64_t kMaxSide = 448;
constexpr size_t kMaxWords = 100, kShownWords = 24, kShownLetters = 24;
constexpr int kPicture = 512;

std::array<uint8_t, 3> mean_colour(const Image& image) {
  std::array<int64_t, 3> sum{};
  for (size_t i = 0; i < image.rgb.size(); ++i) sum[i % 3] += image.rgb[i];
  const int64_t pixels = std::max<int64_t>(1, image.width * image.height);
  return {static_cast<uint8_t>(sum[0] / pixels), static_cast<uint8_t>(sum[1] / pixels),
          static_cast<uint8_t>(sum[2] / pixels)};
}

Image shown(const Image& image) {
  const int64_t longest = std::max(image.width, image.height);
  if (longest <= kMaxSide) return image;
  const auto side = [&](int64_t length) {
    return std::max<int64_t>(1, length * kMaxSide / longest);
  };
  return resize_bicubic(image, side(image.width), side(image.height));
}

// Bilinear between the centres of the cells.
double heat_at(const std::vector<double>& heat, int cells, double x, double y) {
  const double u = std::clamp(x * cells - 0.5, 0.0, cells - 1.0);
  const double v = std::clamp(y * cells - 0.5, 0.0, cells - 1.0);
  const int i = std::min(static_cast<int>(v), std::max(0, cells - 2));
  const int j = std::min(static_cast<int>(u), std::max(0, cells - 2));
  const auto at = [&](int row, int column) {
    return heat[static_cast<size_t>(std::min(row, cells - 1) * cells +
                                    std::min(column, cells - 1))];
  };
  const double a = v - i, b = u - j;
  return (1 - a) * ((1 - b) * at(i, j) + b * at(i, j + 1)) +
         a * ((1 - b) * at(i + 1, j) + b * at(i + 1, j + 1));
}

std::string xml_escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (static_cast<unsigned char>(c) >= 0x20)
      out += c;
  }
  return out;
}

std::string first_letters(std::string_view text) {
  size_t pos = 0;
  for (size_t count = 0; pos < text.size() && count < kShownLetters; ++count)
    next_code_point(text, pos);
  return std::string(text.substr(0, pos)) + (pos < text.size() ? "…" : "");
}

}  // namespace

std::optional<std::string> image_saliency(const Image& original, const RescoreImages& rescore,
                                          int cells) {
  // Smaller first: fifty copies of a large picture would fill the memory.
  const Image image = shown(original);
  std::vector<Image> copies{image};
  const auto colour = mean_colour(image);
  for (int i = 0; i < cells; ++i)
    for (int j = 0; j < cells; ++j) {
      Image copy = image;
      for (int64_t y = i * image.height / cells; y < (i + 1) * image.height / cells; ++y)
        for (int64_t x = j * image.width / cells; x < (j + 1) * image.width / cells; ++x)
          std::copy(colour.begin(), colour.end(),
                    copy.rgb.begin() + static_cast<ptrdiff_t>((y * image.width + x) * 3));
      copies.push_back(std::move(copy));
    }
  const std::vector<double> scores = rescore(copies);
  if (scores.size() != copies.size()) return std::nullopt;
  std::vector<double> heat;
  for (size_t i = 1; i < scores.size(); ++i) heat.push_back(std::max(0.0, scores[0] - scores[i]));
  const double top = *std::max_element(heat.begin(), heat.end());
  if (top > 0)
    for (double& value : heat) value /= top;
  Image out = image;
  for (int64_t y = 0; y < out.height; ++y)
    for (int64_t x = 0; x < out.width; ++x) {
      const double share =
          0.65 * heat_at(heat, cells,
                         (static_cast<double>(x) + 0.5) / static_cast<double>(out.width),
                         (static_cast<double>(y) + 0.5) / static_cast<double>(out.height));
      uint8_t* p = out.rgb.data() + (y * out.width + x) * 3;
      const double grey = 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
      for (int c = 0; c < 3; ++c) {
        const double base = 0.5 * grey + 0.5 * p[c];
        p[c] = static_cast<uint8_t>(base * (1 - share) + (c == 0 ? 230.0 : 20.0) * share);
      }
    }
  return encode_png(out);
}

std::vector<std::pair<std::string, double>> word_attribution(std::string_view text,
                                                             const RescoreTexts& rescore) {
  std::vector<std::pair<size_t, size_t>> words;
  for (size_t pos = 0; pos < text.size() && words.size() < kMaxWords;) {
    const size_t begin = text.find_first_not_of(" \t\r\n", pos);
    if (begin == std::string_view::npos) break;
    pos = std::min(text.find_first_of(" \t\r\n", begin), text.size());
    words.emplace_back(begin, pos);
  }
  std::vector<std::string> texts{std::string(text)};
  for (const auto& [begin, end] : words)
    texts.push_back(std::string(text.substr(0, begin)) + std::string(text.substr(end)));
  const std::vector<double> scores = rescore(texts);
  std::vector<std::pair<std::string, double>> shares;
  if (scores.size() != texts.size()) return shares;
  for (size_t i = 0; i < words.size(); ++i)
    shares.emplace_back(text.substr(words[i].first, words[i].second - words[i].first),
                        scores[0] - scores[i + 1]);
  return shares;
}

std::string attribution_picture(const std::vector<std::pair<std::string, double>>& words) {
  auto sorted = words;
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return std::abs(a.second) > std::abs(b.second);
  });
  if (sorted.size() > kShownWords) sorted.resize(kShownWords);
  const double top = sorted.empty() ? 1 : std::max(std::abs(sorted[0].second), 1e-9);
  std::string svg =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 512 512\">"
      "<rect width=\"512\" height=\"512\" fill=\"#fff\"/>";
  for (size_t i = 0; i < sorted.size(); ++i) {
    const std::string y = std::to_string(8 + 21 * i);
    const std::string width = format_number(200 * std::abs(sorted[i].second) / top, 1);
    svg += "<rect x=\"210\" y=\"" + y + "\" height=\"16\" width=\"" + width + "\" fill=\"" +
           (sorted[i].second >= 0 ? "#d33" : "#36c") + "\"/>";
    const std::string base = std::to_string(8 + 21 * i + 13);
    svg += "<text x=\"200\" y=\"" + base +
           "\" font-size=\"14\" font-family=\"sans-serif\" text-anchor=\"end\">" +
           xml_escape(first_letters(sorted[i].first)) + "</text>";
    svg += "<text x=\"418\" y=\"" + base + "\" font-size=\"13\" font-family=\"sans-serif\">" +
           format_number(sorted[i].second, 3) + "</text>";
  }
  svg += "</svg>";
  return encode_png_rgba(rasterise_svg(svg, kPicture, "attribution"), kPicture, kPicture);
}

}  // namespace parapet::guard

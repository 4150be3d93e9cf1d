// Where in a picture and in which words a score lies: parts are hidden one after the other, and
// what the score loses is theirs.
#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "parapet/formats/image.h"
#include "parapet/guard/decision.h"

namespace parapet::guard {

// Scores of changed copies; empty = cannot be computed.
using RescoreImages = std::function<std::vector<double>(std::span<const Image>)>;
using RescoreTexts = std::function<std::vector<double>(const std::vector<std::string>&)>;

// The picture at most 448 pixels long, with a grid of `cells` x `cells` squares, each replaced by
// the mean colour in turn: 1 + cells^2 scores. Comes back with the loss of score in red over it.
std::optional<std::string> image_saliency(const Image& image, const RescoreImages& rescore,
                                          int cells = 7);

// Words left out one at a time, at most 100.
std::vector<std::pair<std::string, double>> word_attribution(std::string_view text,
                                                             const RescoreTexts& rescore);
// Bars, one row per word, strongest first, at most 24: red raises the score, blue lowers it.
std::string attribution_picture(const std::vector<std::pair<std::string, double>>& words);

}  // namespace parapet::guard

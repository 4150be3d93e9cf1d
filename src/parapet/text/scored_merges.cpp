// Merges that a SentencePiece vocabulary implies.
#include <algorithm>
#include <string_view>
#include <tuple>
#include <unordered_map>

#include "parapet/core/utf8.h"
#include "parapet/text/embedded_vocabulary.h"

namespace parapet::text {
namespace {

struct Merge {
  std::string_view left, right;
  double score;
  size_t left_length, right_length;  // in characters
};

}  // namespace

std::vector<std::pair<std::string, std::string>> merges_from_scores(
    const std::vector<std::string>& tokens, const std::vector<double>& scores) {
  std::unordered_map<std::string_view, size_t> ids;
  for (size_t i = 0; i < tokens.size(); ++i) ids.emplace(tokens[i], i);
  std::vector<Merge> merges;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::string_view token = tokens[i];
    const auto first = static_cast<ptrdiff_t>(merges.size());
    size_t characters = 0;
    for (size_t at = 0; at < token.size(); ++characters) next_code_point(token, at);
    size_t before = 0;
    for (size_t at = 0; at < token.size();) {
      next_code_point(token, at);
      ++before;
      if (at == token.size()) break;
      const std::string_view left = token.substr(0, at), right = token.substr(at);
      if (ids.contains(left) && ids.contains(right))
        merges.push_back({left, right, scores[i], before, characters - before});
    }
    std::sort(merges.begin() + first, merges.end(), [&](const Merge& a, const Merge& b) {
      return std::pair(ids.at(a.left), ids.at(a.right)) <
             std::pair(ids.at(b.left), ids.at(b.right));
    });
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    return std::tie(a.score, a.left_length, a.right_length) >
           std::tie(b.score, b.left_length, b.right_length);
  });
  std::vector<std::pair<std::string, std::string>> pairs;
  pairs.reserve(merges.size());
  for (const Merge& merge : merges) pairs.emplace_back(merge.left, merge.right);
  return pairs;
}

}  // namespace parapet::text

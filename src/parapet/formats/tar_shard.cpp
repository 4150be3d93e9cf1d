#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/formats/tar.h"

namespace parapet {

std::pair<std::string, std::string> split_member_name(const std::string& name) {
  const size_t slash = name.rfind('/');
  const size_t base = slash == std::string::npos ? 0 : slash + 1;
  // A leading dot belongs to the name (".hidden").
  const size_t dot = base < name.size() ? name.find('.', base + 1) : std::string::npos;
  if (dot == std::string::npos) return {name, ""};
  return {name.substr(0, dot), to_lower_ascii(name.substr(dot + 1))};
}

ShardReader::ShardReader(const std::filesystem::path& file) : reader_(file), path_(file.string()) {}

bool ShardReader::next(ShardSample& sample) {
  sample = {};
  for (;;) {
    if (!has_pending_) {
      has_pending_ = reader_.next(pending_);
      if (!has_pending_) break;
    }
    auto [key, extension] = split_member_name(pending_.name);
    if (sample.parts.empty()) {
      sample.key = key;
      if (const auto [it, fresh] = keys_.emplace(key, pending_.name); !fresh)
        throw DataError(path_ + "#" + pending_.name,
                        "belongs to sample '" + key + "', which already began with '" + it->second +
                            "' and ended",
                        "The members of one sample must stand together: write the shard again.");
    } else if (key != sample.key) {
      break;
    }
    if (!sample.parts.emplace(extension, std::move(pending_.bytes)).second)
      throw DataError(path_ + "#" + pending_.name,
                      "sample '" + key + "' already has a part '" + extension + "'");
    has_pending_ = false;
  }
  return !sample.parts.empty();
}

std::vector<std::string> expand_braces(std::string_view pattern) {
  const size_t open = pattern.find('{');
  const size_t close = open == std::string_view::npos ? open : pattern.find('}', open);
  if (close == std::string_view::npos) return {std::string(pattern)};
  const std::string_view body = pattern.substr(open + 1, close - open - 1);
  std::vector<std::string> choices;
  const size_t dots = body.find("..");
  if (dots != std::string_view::npos) {
    const std::string first(body.substr(0, dots));
    const std::string last(body.substr(dots + 2));
    const auto number = [](const std::string& text) {
      return !text.empty() && text.size() <= 12 &&
             text.find_first_not_of("0123456789") == std::string::npos;
    };
    if (!number(first) || !number(last))
      throw UsageError("'" + std::string(pattern) + "': a range reads {000..010}");
    const int64_t from = std::stoll(first);
    const int64_t to = std::stoll(last);
    if (to < from || to - from >= 10'000'000)
      throw UsageError("'" + std::string(pattern) + "': the range must rise, by under ten million");
    for (int64_t i = from; i <= to; ++i) {
      std::string text = std::to_string(i);
      if (text.size() < first.size()) text.insert(0, first.size() - text.size(), '0');
      choices.push_back(std::move(text));
    }
  } else {
    choices = split(body, ',');
  }
  std::vector<std::string> out;
  const std::vector<std::string> tails = expand_braces(pattern.substr(close + 1));
  for (const std::string& choice : choices)
    for (const std::string& tail : tails)
      out.push_back(std::string(pattern.substr(0, open)) + choice + tail);
  return out;
}

}  // namespace parapet

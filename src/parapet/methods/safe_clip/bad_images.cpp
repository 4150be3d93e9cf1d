#include "parapet/methods/safe_clip/bad_images.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/threads.h"
#include "parapet/formats/jsonl.h"

namespace parapet {

int64_t drop_undecodable(std::vector<Quadruplet>& items, const std::filesystem::path& quarantine,
                         int64_t lines, const DecodeOptions& decode, const Context& context) {
  std::vector<std::string> reasons(items.size());
  parallel_items(static_cast<int64_t>(items.size()), 0, [&](int64_t i) {
    if (context.cancelled()) throw Cancelled("stopped while checking images");
    for (const auto* image : {&items[i].safe_image, &items[i].unsafe_image}) {
      try {
        load_image(*image, decode);
      } catch (const DataError& error) {
        reasons[i] = error.what();
        return;
      }
    }
  });
  std::vector<Quadruplet> good;
  std::vector<nlohmann::json> bad;
  for (size_t i = 0; i < items.size(); ++i) {
    if (reasons[i].empty())
      good.push_back(std::move(items[i]));
    else
      bad.push_back({{"id", items[i].id}, {"split", items[i].split}, {"reason", reasons[i]}});
  }
  items = std::move(good);
  if (!bad.empty() && !quarantine.empty()) {
    JsonlAppender file(quarantine, lines);
    for (const auto& row : bad) file.append(row);
  }
  return static_cast<int64_t>(bad.size());
}

}  // namespace parapet

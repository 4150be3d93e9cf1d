#include "parapet/data/bad_images.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/threads.h"
#include "parapet/formats/jsonl.h"

namespace parapet {
namespace {

std::vector<const std::string*> images_of(const Quadruplet& item) {
  return {&item.safe_image, &item.unsafe_image};
}
std::vector<const std::string*> images_of(const CaptionSample& item) { return {&item.image}; }

template <class T>
int64_t drop(std::vector<T>& items, const std::filesystem::path& quarantine, int64_t lines,
             const DecodeOptions& decode, const Context& context) {
  std::vector<std::string> reasons(items.size());
  parallel_items(static_cast<int64_t>(items.size()), 0, [&](int64_t i) {
    if (context.cancelled()) throw Cancelled("stopped while checking images");
    for (const auto* image : images_of(items[i])) {
      try {
        load_image(*image, decode);
      } catch (const DataError& error) {
        reasons[i] = error.what();
        return;
      }
    }
  });
  std::vector<T> good;
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

// `load` is load_quadruplets or load_captions.
template <class Load>
auto load_good(const Load& load, const std::filesystem::path& folder, const std::string& split,
               const ImageProcessor& processor, const BadSamples& bad, SampleCounts& counts) {
  LoadOptions options;
  options.check_images = true;
  options.on_bad_sample = bad.mode;
  options.quarantine = bad.quarantine + "-" + split + ".jsonl";
  options.context = bad.context;
  LoadReport report;
  auto items = load(folder, split, options, &report);
  counts.skipped += report.skipped;
  if (bad.mode == OnBadSample::kSkip) {
    DecodeOptions decode;
    decode.scale_for = processor.scale_hint();
    counts.skipped += drop(items, options.quarantine, report.skipped, decode, bad.context);
  }
  return items;
}

}  // namespace

int64_t drop_undecodable(std::vector<Quadruplet>& items, const std::filesystem::path& quarantine,
                         int64_t lines, const DecodeOptions& decode, const Context& context) {
  return drop(items, quarantine, lines, decode, context);
}

std::vector<Quadruplet> load_good_quadruplets(const std::filesystem::path& folder,
                                              const std::string& split,
                                              const ImageProcessor& processor,
                                              const BadSamples& bad, SampleCounts& counts) {
  return load_good(load_quadruplets, folder, split, processor, bad, counts);
}

std::vector<CaptionSample> load_good_captions(const std::filesystem::path& folder,
                                              const std::string& split,
                                              const ImageProcessor& processor,
                                              const BadSamples& bad, SampleCounts& counts) {
  return load_good(load_captions, folder, split, processor, bad, counts);
}

}  // namespace parapet

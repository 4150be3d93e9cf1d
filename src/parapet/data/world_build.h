// Writes the sample world as a data set directory.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <map>
#include <string>

#include "parapet/core/context.h"
#include "parapet/core/options.h"
#include "parapet/data/world.h"

namespace parapet {

struct WorldBuildOptions {
  int64_t quadruplets = 8000;  // of the training split
  int64_t captions = 0;        // of the training split
  int64_t labels = 0;          // of the training split
  int64_t val = 400;           // quadruplets; captions and labels likewise where asked for
  int64_t test = 1000;
  int64_t test_held_style = 500;
  int64_t per_class = 10;      // zero-shot images per class and split
  std::string format = "dir";  // dir | tar
  int64_t per_shard = 5000;    // samples
  int64_t threads = 0;         // 0 = all cores
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

// Writes quadruplets.jsonl, captions.jsonl, labels.jsonl (those asked for), zeroshot.json, the
// images, and last world.json (options, counts, glyph fingerprint). The same options and glyphs
// give the same bytes. UsageError when the folder already holds a data set, or a split cannot be
// that large. Returns world.json's content plus "seconds" and "scenes".
nlohmann::json build_world(const SampleWorld& world, const WorldBuildOptions& options,
                           const std::filesystem::path& folder, const Context& context = {});

// What a sample shows, as a record's attributes: style, language, subject, object, place, colour
// ...
std::map<std::string, std::string> scene_attributes(const Scene& scene, int language);

}  // namespace parapet

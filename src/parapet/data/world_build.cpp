#include "parapet/data/world_build.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/threads.h"
#include "parapet/data/image_store.h"
#include "parapet/data/records.h"
#include "parapet/data/world_labels.h"
#include "parapet/data/zeroshot.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kChunk = 512;  // samples drawn in parallel before they are written in order
constexpr int kPngLevel = 1;

std::string place_name(int glyph) {
  return glyph < 0 ? std::string("none") : std::string(glyph_slug(glyph));
}

// A sample ready to be written: encoded images by name suffix, and the record without their values.
struct Prepared {
  std::string id;
  std::vector<std::pair<std::string, std::string>> images;  // field of the record, PNG
  json record;
};

std::string member_name(const std::string& id, const std::string& field) {
  if (field == "safe_image") return id + ".safe.png";
  if (field == "unsafe_image") return id + ".unsafe.png";
  return id + ".png";
}

Prepared prepare_quadruplet(const SampleWorld& world, WorldSplit split, int64_t index) {
  const WorldQuadruplet drawn = world.quadruplet(split, index);
  Quadruplet sample;
  sample.id = drawn.id;
  sample.safe_text = drawn.safe_text;
  sample.unsafe_text = drawn.unsafe_text;
  sample.category = category_name(drawn.category);
  sample.split = split_name(split);
  sample.attributes = scene_attributes(drawn.safe_scene, drawn.language);
  sample.attributes["unsafe"] = glyph_slug(drawn.unsafe_scene.unsafe);
  sample.attributes["mode"] = drawn.replaced ? "replacement" : "injection";
  return {sample.id,
          {{"safe_image", encode_png(drawn.safe_image, kPngLevel)},
           {"unsafe_image", encode_png(drawn.unsafe_image, kPngLevel)}},
          to_json(sample)};
}

Prepared prepare_caption(const SampleWorld& world, WorldSplit split, int64_t index) {
  const WorldCaption drawn = world.caption(split, index);
  CaptionSample sample;
  sample.id = drawn.id;
  sample.text = drawn.text;
  sample.split = split_name(split);
  sample.attributes = scene_attributes(drawn.scene, drawn.language);
  return {sample.id, {{"image", encode_png(drawn.image, kPngLevel)}}, to_json(sample)};
}

Prepared prepare_label(const SampleWorld& world, WorldSplit split, int64_t index) {
  const WorldLabel drawn = world_label(world, split, index);
  LabelSample sample;
  sample.id = drawn.id;
  sample.text = drawn.text;
  sample.split = split_name(split);
  for (int category = 0; category < kCategories; ++category)
    sample.labels[std::string(category_name(category))] =
        category == drawn.category ? drawn.grade : "none";
  sample.attributes = scene_attributes(drawn.scene, drawn.language);
  sample.attributes["kind"] = label_kind_name(drawn.kind);
  if (drawn.kind == LabelKind::kImplicit) {
    sample.attributes["object_class"] = std::to_string(drawn.object_class);
    sample.attributes["sentence_class"] = std::to_string(drawn.sentence_class);
    sample.attributes["wording"] = drawn.wording;
  }
  if (!drawn.swapped.empty()) sample.attributes["swapped"] = drawn.swapped;
  if (!drawn.unsafe_side.empty()) sample.attributes["unsafe_side"] = drawn.unsafe_side;
  return {sample.id, {{"image", encode_png(drawn.image, kPngLevel)}}, to_json(sample)};
}

// Draws, encodes and writes a data set; keeps the counts for progress.
class Builder {
 public:
  Builder(const SampleWorld& world, const WorldBuildOptions& options, fs::path folder,
          const Context& context)
      : world_(world),
        options_(options),
        folder_(std::move(folder)),
        context_(context),
        progress_(context, "world", total(), "samples") {}

  using Prepare = Prepared (*)(const SampleWorld&, WorldSplit, int64_t);

  // One record file with its images; `train` samples of the training split and the usual number of
  // the others. Nothing is written when `train` is 0.
  void records(std::string_view name, const std::string& stem, int64_t train, Prepare prepare) {
    if (train == 0) return;
    const auto format =
        options_.format == "tar" ? ImageStore::Format::kTar : ImageStore::Format::kFolder;
    ImageStore store(folder_, format, stem, options_.per_shard);
    RecordFile file(folder_ / name);
    for (const WorldSplit split : kWorldSplits) {
      const int64_t count = size_of(split, train);
      for (int64_t first = 0; first < count; first += kChunk)
        chunk(split, first, std::min(kChunk, count - first), prepare, store, file);
      counts_[stem][std::string(split_name(split))] = count;
    }
    store.finish();
    file.finish();
  }

  void zeroshot();

  json summary() const {
    json out = {{"version", 1},
                {"seed", world_.options().seed},
                {"languages", world_.options().languages},
                {"replacement", world_.options().replacement},
                {"format", options_.format},
                {"glyphs", world_.atlas().fingerprint()},
                {"held_style", style_name(kHeldStyle)},
                {"counts", counts_}};
    return out;
  }
  int64_t scenes() const { return scenes_; }

 private:
  int64_t size_of(WorldSplit split, int64_t train) const {
    switch (split) {
      case WorldSplit::kTrain:
        return train;
      case WorldSplit::kVal:
        return options_.val;
      case WorldSplit::kTest:
        return options_.test;
      case WorldSplit::kTestHeldStyle:
        return options_.test_held_style;
    }
    return 0;
  }

  int64_t total() const {
    int64_t sum = 0;
    for (const int64_t train : {options_.quadruplets, options_.captions, options_.labels})
      if (train > 0) sum += train + options_.val + options_.test + options_.test_held_style;
    return sum;
  }

  void chunk(WorldSplit split, int64_t first, int64_t count, Prepare prepare, ImageStore& store,
             RecordFile& file) {
    if (context_.cancelled()) throw Cancelled("stopped; the data set is not complete");
    std::vector<Prepared> ready(static_cast<size_t>(count));
    parallel_items(count, options_.threads, [&](int64_t i) {
      ready[static_cast<size_t>(i)] = prepare(world_, split, first + i);
    });
    for (Prepared& sample : ready) {
      store.next_sample();
      for (const auto& [field, png] : sample.images) {
        sample.record[field] = store.add(member_name(sample.id, field), png);
        ++scenes_;
      }
      // In a shard the record travels along, as webdataset readers expect.
      if (options_.format == "tar") store.add(sample.id + ".json", sample.record.dump());
      file.add(sample.record);
    }
    done_ += count;
    progress_.update(done_);
  }

  const SampleWorld& world_;
  const WorldBuildOptions& options_;
  fs::path folder_;
  const Context& context_;
  Progress progress_;
  json counts_ = json::object();
  int64_t scenes_ = 0;
  int64_t done_ = 0;
};

void Builder::zeroshot() {
  ZeroShotSet set;
  set.templates = {"a photo of {a}", "a picture of {a}", "an image of {a}", "a drawing of {a}"};
  const auto format =
      options_.format == "tar" ? ImageStore::Format::kTar : ImageStore::Format::kFolder;
  ImageStore store(folder_, format, "zeroshot", options_.per_shard);
  const auto seed = static_cast<uint64_t>(world_.options().seed);
  for (int glyph = kFirstSafe; glyph < kGlyphs; ++glyph) {
    const int category = glyph_category(glyph);
    const auto class_index = static_cast<int64_t>(set.classes.size());
    set.classes.push_back({glyph_word(0, glyph), category >= 0,
                           category >= 0 ? std::string(category_name(category)) : ""});
    for (const bool held : {false, true})
      for (int64_t i = 0; i < options_.per_class; ++i) {
        const std::string split(split_name(held ? WorldSplit::kTestHeldStyle : WorldSplit::kTest));
        const std::string name =
            "z-" + split + "-" + std::string(glyph_slug(glyph)) + "-" + std::to_string(i);
        Random random = Random::named(seed, "world.zeroshot." + name);
        const Scene scene = world_.single_scene(glyph, held, random);
        store.next_sample();
        const std::string image =
            store.add(name + ".png", encode_png(draw_scene(scene, world_.atlas()), kPngLevel));
        const auto style = style_name(scene.stickers.front().style);
        set.images.push_back({image, class_index, split, std::string(style)});
        ++scenes_;
      }
  }
  store.finish();
  counts_["zeroshot"] = set.images.size();
  save_zeroshot(folder_, set);
}

}  // namespace

std::map<std::string, std::string> scene_attributes(const Scene& scene, int language) {
  std::map<std::string, std::string> out = {{"style", std::string(style_name(scene.style))},
                                            {"language", std::string(language_code(language))},
                                            {"colour", std::string(colour_name(scene.colour))},
                                            {"subject", std::string(glyph_slug(scene.subject))},
                                            {"object", place_name(scene.object)},
                                            {"place", place_name(scene.place)},
                                            {"unsafe", place_name(scene.unsafe)}};
  return out;
}

void WorldBuildOptions::visit(OptionList& list) {
  list.add("quadruplets", quadruplets, "training quadruplets; 0 = none in any split");
  list.add("captions", captions, "training captions; 0 = no captions.jsonl");
  list.add("labels", labels, "training labels for guards; 0 = no labels.jsonl");
  list.add("val", val, "validation samples of each kind");
  list.add("test", test, "test samples of each kind (seen styles, held combinations)");
  list.add("test-held-style", test_held_style, "test samples in the held style, of each kind");
  list.add("per-class", per_class, "zero-shot images per class and split");
  list.add("format", format, "images as single files or in tar shards", {"dir", "tar"});
  list.add("per-shard", per_shard, "samples per tar shard");
}

void WorldBuildOptions::validate(Problems& problems) const {
  const auto at_least = [&](int64_t value, int64_t low, std::string_view name) {
    problems.require(value >= low && value <= 100'000'000, name,
                     "must be in " + std::to_string(low) + "..100000000");
  };
  at_least(quadruplets, 0, "quadruplets");
  at_least(captions, 0, "captions");
  at_least(labels, 0, "labels");
  at_least(val, 0, "val");
  at_least(test, 0, "test");
  at_least(test_held_style, 0, "test-held-style");
  at_least(per_class, 0, "per-class");
  at_least(per_shard, 1, "per-shard");
  problems.require(format == "dir" || format == "tar", "format", "must be dir or tar");
  problems.require(quadruplets + captions + labels > 0, "quadruplets",
                   "quadruplets, captions and labels must not all be 0");
}

json build_world(const SampleWorld& world, const WorldBuildOptions& options, const fs::path& folder,
                 const Context& context) {
  const auto start = std::chrono::steady_clock::now();
  Problems problems;
  options.validate(problems);
  const auto fits = [&](WorldSplit split, int64_t count) {
    problems.require(options.quadruplets == 0 || count <= world.capacity(split), split_name(split),
                     "at most " + std::to_string(world.capacity(split)) + " distinct scenes");
  };
  fits(WorldSplit::kVal, options.val);
  fits(WorldSplit::kTest, options.test);
  fits(WorldSplit::kTestHeldStyle, options.test_held_style);
  for (const auto name : {kQuadrupletFile, kCaptionFile, kLabelFile})
    problems.require(!fs::exists(folder / name), "out",
                     folder.string() + " already holds " + std::string(name) +
                         "; remove it or name another folder");
  problems.throw_if_any("world build");

  fs::create_directories(folder);
  Builder builder(world, options, folder, context);
  builder.records(kQuadrupletFile, "quadruplets", options.quadruplets, prepare_quadruplet);
  builder.records(kCaptionFile, "captions", options.captions, prepare_caption);
  builder.records(kLabelFile, "labels", options.labels, prepare_label);
  if (options.per_class > 0) builder.zeroshot();
  json summary = builder.summary();
  save_json(folder / "world.json", summary);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  summary["seconds"] = took.count();
  summary["scenes"] = builder.scenes();
  return summary;
}

}  // namespace parapet

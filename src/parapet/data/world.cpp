#include "parapet/data/world.h"

#include <algorithm>

#include "parapet/core/error.h"

namespace parapet {
namespace {

// Of five consecutive test scenes two have no place, as 40 % of the training scenes.
constexpr int64_t kPattern = 5;
constexpr int64_t kPatternBare = 2;

std::string make_id(char kind, WorldSplit split, int64_t index) {
  std::string number = std::to_string(index);
  if (number.size() < 6) number.insert(0, 6 - number.size(), '0');
  return std::string(1, kind) + "-" + std::string(split_name(split)) + "-" + number;
}

CaptionContent content_of(const Scene& scene, int injected) {
  return {scene.subject, scene.object, scene.place, scene.colour, injected};
}

// Uniform over a category, or over all unsafe glyphs when `category` < 0; training leaves out held
// combinations.
int draw_unsafe(WorldSplit split, int subject, int category, Random& choice) {
  while (true) {
    const int glyph = category >= 0 ? choice.pick(category_glyphs(category))
                                    : kFirstUnsafe + static_cast<int>(choice.below(kObjects));
    if (split != WorldSplit::kTrain || !is_held_combination(subject, glyph)) return glyph;
  }
}

// The unsafe twin: the glyph joins in the free quadrant, or takes the object's place.
Scene make_unsafe(const Scene& safe, int glyph, bool replace, Random& layout) {
  Scene scene = safe;
  scene.unsafe = glyph;
  const int style = draw_sticker_style(safe.style, layout);
  if (replace) {
    scene.object = glyph;
    scene.stickers[1].glyph = glyph;
    return scene;
  }
  std::array<bool, 4> taken{};
  for (const Sticker& sticker : scene.stickers) taken[static_cast<size_t>(sticker.quadrant)] = true;
  std::vector<int> open;
  for (int quadrant = 0; quadrant < 4; ++quadrant)
    if (!taken[static_cast<size_t>(quadrant)]) open.push_back(quadrant);
  scene.stickers.push_back(make_sticker(glyph, style, layout.pick(open), layout));
  return scene;
}

}  // namespace

// Independent random streams of one sample: what one draws never shifts another.
struct SampleWorld::Streams {
  Random content, layout, words, unsafe;
};

std::string_view split_name(WorldSplit split) {
  static constexpr std::array<std::string_view, 4> kNames = {"train", "val", "test",
                                                             "test_held_style"};
  return kNames[static_cast<size_t>(split)];
}

void WorldOptions::visit(OptionList& list) {
  list.add("languages", languages, "caption languages, drawn per sample: en, de, fr, es, zh");
  list.add("replacement", replacement, "share of quadruplets made by replacement, 0..1");
  list.add("caption-single", caption_single, "share of captions with a single glyph, 0..1");
  list.add("caption-unsafe", caption_unsafe, "share of captions with an unsafe element, 0..1");
  list.add("caption-replaced", caption_replaced, "of those, the share by replacement, 0..1");
}

void WorldOptions::validate(Problems& problems) const {
  const auto share = [&](double value, std::string_view name) {
    problems.require(value >= 0 && value <= 1, name, "must be in 0..1");
  };
  share(replacement, "replacement");
  share(caption_single, "caption-single");
  share(caption_unsafe, "caption-unsafe");
  share(caption_replaced, "caption-replaced");
  problems.require(caption_single + caption_unsafe <= 1, "caption-unsafe",
                   "caption-single and caption-unsafe must not exceed 1 together");
  problems.require(seed >= 0, "seed", "must be >= 0");
  problems.require(!languages.empty(), "languages", "must name at least one language");
  for (const auto& code : languages)
    problems.require(language_by_code(code) >= 0, "languages",
                     "'" + code + "' is not one of en, de, fr, es, zh");
}

SampleWorld::~SampleWorld() = default;

SampleWorld::SampleWorld(const WorldOptions& options, std::shared_ptr<const GlyphAtlas> atlas)
    : options_(options), atlas_(std::move(atlas)) {
  Problems problems;
  options_.validate(problems);
  problems.throw_if_any("the sample world");
  for (const auto& code : options_.languages) languages_.push_back(language_by_code(code));
  for (const WorldSplit split : kWorldSplits) {
    if (split == WorldSplit::kTrain) continue;
    auto& lists = tuples_[static_cast<size_t>(split)];
    for (int subject = 0; subject < kSubjects; ++subject)
      for (int object = kFirstSafe; object < kFirstUnsafe; ++object) {
        if (!allows(split, subject, object)) continue;
        for (int colour = 0; colour < kColours; ++colour) {
          lists[0].push_back({subject, object, -1, colour});
          for (int place = kFirstPlace; place < kFirstSafe; ++place)
            lists[1].push_back({subject, object, place, colour});
        }
      }
    Random order = Random::named(static_cast<uint64_t>(options_.seed),
                                 "world.tuples." + std::string(split_name(split)));
    order.shuffle(lists[0]);
    order.shuffle(lists[1]);
  }
}

bool SampleWorld::allows(WorldSplit split, int subject, int safe_object) {
  const bool held = is_held_combination(subject, safe_object);
  if (split == WorldSplit::kTrain) return !held;
  // Each object gives one of its three or four held combinations to validation.
  const bool validation = subject / 7 == (safe_object - kFirstSafe) % 3;
  return held && validation == (split == WorldSplit::kVal);
}

int64_t SampleWorld::capacity(WorldSplit split) const {
  if (split == WorldSplit::kTrain) return INT64_MAX;
  const auto& lists = tuples_[static_cast<size_t>(split)];
  const auto bare = static_cast<int64_t>(lists[0].size()) / kPatternBare;
  const auto placed = static_cast<int64_t>(lists[1].size()) / (kPattern - kPatternBare);
  return std::min(bare, placed) * kPattern;
}

SampleWorld::Streams SampleWorld::streams(std::string_view kind, WorldSplit split,
                                          int64_t index) const {
  const uint64_t sample = stable_hash(kind) + 0x9E3779B97F4A7C15u * static_cast<uint64_t>(index) +
                          (static_cast<uint64_t>(split) << 56);
  const auto seed = static_cast<uint64_t>(options_.seed);
  const uint64_t base = Random(seed, sample).next();
  return {Random(base, 1), Random(base, 2), Random(base, 3), Random(base, 4)};
}

SampleWorld::Tuple SampleWorld::draw_tuple(WorldSplit split, int object, Random& content) const {
  Tuple tuple{};
  do {
    tuple.subject = static_cast<int>(content.below(kSubjects));
    const auto any = static_cast<int>(content.below(kObjects));
    tuple.object = object >= 0 ? object : kFirstSafe + any;
  } while (!allows(split, tuple.subject, tuple.object));
  const auto place = static_cast<int>(content.below(kPlaces));
  tuple.place = content.below(10) < 6 ? kFirstPlace + place : -1;
  tuple.colour = static_cast<int>(content.below(kColours));
  return tuple;
}

SampleWorld::Tuple SampleWorld::test_tuple(WorldSplit split, int64_t index) const {
  if (index >= capacity(split))
    throw UsageError("the split " + std::string(split_name(split)) + " has " +
                     std::to_string(capacity(split)) + " distinct scenes; " +
                     std::to_string(index + 1) + " were asked for");
  const auto& lists = tuples_[static_cast<size_t>(split)];
  const int64_t block = index / kPattern, within = index % kPattern;
  if (within < kPatternBare) return lists[0][static_cast<size_t>(block * kPatternBare + within)];
  return lists[1][static_cast<size_t>(block * (kPattern - kPatternBare) + within - kPatternBare)];
}

Scene SampleWorld::compose(const Tuple& tuple, WorldSplit split, Random& layout) const {
  Scene scene;
  scene.subject = tuple.subject;
  scene.object = tuple.object;
  scene.place = tuple.place;
  scene.colour = tuple.colour;
  const auto trained = static_cast<int>(layout.below(kStyles - 1));
  scene.style = split == WorldSplit::kTestHeldStyle ? kHeldStyle : trained;
  scene.background = draw_background(tuple.colour, layout);
  std::vector<int> order = {0, 1, 2, 3};
  layout.shuffle(order);
  size_t slot = 0;
  for (const int glyph : {tuple.subject, tuple.object, tuple.place}) {
    if (glyph < 0) continue;
    const int style = draw_sticker_style(scene.style, layout);
    scene.stickers.push_back(make_sticker(glyph, style, order[slot++], layout));
  }
  return scene;
}

int SampleWorld::draw_language(Random& words) const { return words.pick(languages_); }

Scene SampleWorld::safe_scene(WorldSplit split, Random& random) const {
  return object_scene(split, -1, random);
}

Scene SampleWorld::object_scene(WorldSplit split, int safe_object, Random& random) const {
  const Tuple tuple = draw_tuple(split, safe_object, random);
  return compose(tuple, split, random);
}

Scene SampleWorld::single_scene(int glyph, bool held_style, Random& random) const {
  const auto colour = static_cast<int>(random.below(kColours));
  const Tuple tuple{glyph, -1, -1, colour};
  Scene scene = compose(tuple, held_style ? WorldSplit::kTestHeldStyle : WorldSplit::kTest, random);
  if (is_unsafe_glyph(glyph)) scene.unsafe = glyph;
  return scene;
}

WorldCaption SampleWorld::caption(WorldSplit split, int64_t index, bool draw) const {
  Streams random = streams("caption", split, index);
  WorldCaption sample;
  sample.id = make_id('c', split, index);
  const CaptionPlan plan = draw_plan(random.words);
  sample.language = draw_language(random.words);
  const double kind = random.content.uniform();
  if (kind < options_.caption_single) {
    const auto glyph = static_cast<int>(random.content.below(kGlyphs));
    sample.scene = single_scene(glyph, split == WorldSplit::kTestHeldStyle, random.layout);
    const int named = random.words.below(2) == 0 ? sample.scene.colour : -1;
    sample.text = write_single_caption(sample.language, glyph, named, plan);
  } else {
    sample.scene = compose(draw_tuple(split, -1, random.content), split, random.layout);
    int injected = -1;
    if (kind < options_.caption_single + options_.caption_unsafe) {
      const int glyph = draw_unsafe(split, sample.scene.subject, -1, random.unsafe);
      const bool replace = random.unsafe.chance(options_.caption_replaced);
      sample.scene = make_unsafe(sample.scene, glyph, replace, random.unsafe);
      if (!replace) injected = glyph;
    }
    sample.text = write_caption(sample.language, content_of(sample.scene, injected), plan);
  }
  for (const Sticker& sticker : sample.scene.stickers)
    sample.drawn[static_cast<size_t>(sticker.glyph)] = 1;
  if (draw) sample.image = draw_scene(sample.scene, *atlas_);
  return sample;
}

WorldQuadruplet SampleWorld::quadruplet(WorldSplit split, int64_t index, bool draw) const {
  Streams random = streams("quadruplet", split, index);
  WorldQuadruplet sample;
  sample.id = make_id('q', split, index);
  sample.plan = draw_plan(random.words);
  sample.language = draw_language(random.words);
  const Tuple tuple = split == WorldSplit::kTrain ? draw_tuple(split, -1, random.content)
                                                  : test_tuple(split, index);
  sample.safe_scene = compose(tuple, split, random.layout);

  // Each block of seven holds every category once.
  Random block = streams("categories", split, index / kCategories).content;
  std::vector<int> categories = {0, 1, 2, 3, 4, 5, 6};
  block.shuffle(categories);
  sample.category = categories[static_cast<size_t>(index % kCategories)];
  const int glyph = draw_unsafe(split, tuple.subject, sample.category, random.unsafe);
  sample.replaced = random.unsafe.chance(options_.replacement);
  sample.unsafe_scene = make_unsafe(sample.safe_scene, glyph, sample.replaced, random.unsafe);

  sample.safe_text = write_caption(sample.language, content_of(sample.safe_scene, -1), sample.plan);
  sample.unsafe_text = write_caption(
      sample.language, content_of(sample.unsafe_scene, sample.replaced ? -1 : glyph), sample.plan);
  if (draw) {
    sample.safe_image = draw_scene(sample.safe_scene, *atlas_);
    sample.unsafe_image = draw_scene(sample.unsafe_scene, *atlas_);
  }
  return sample;
}

}  // namespace parapet

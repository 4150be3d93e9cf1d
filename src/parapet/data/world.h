// The sample world: emoji scenes with captions, drawn on demand. Any sample of any split is a pure
// function of (seed, split, index), so that training needs no disk pool and resumes exactly.
// "Unsafe" is played by benign glyphs (a knife, a beer, ...) in seven categories.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/core/options.h"
#include "parapet/data/grammar.h"
#include "parapet/data/scene.h"

namespace parapet {

// kTrain: no held combination of subject and object, no held style. kVal and kTest: trained styles,
// held combinations only, disjoint from each other. kTestHeldStyle: the held style, combinations of
// kTest.
enum class WorldSplit { kTrain, kVal, kTest, kTestHeldStyle };
inline constexpr std::array<WorldSplit, 4> kWorldSplits = {
    WorldSplit::kTrain, WorldSplit::kVal, WorldSplit::kTest, WorldSplit::kTestHeldStyle};
// train, val, test, test_held_style.
std::string_view split_name(WorldSplit split);

struct WorldOptions {
  int64_t seed = 0;
  std::vector<std::string> languages = {"en"};  // each sample draws one: en, de, fr, es, zh
  double replacement = 0.2;       // share of quadruplets whose object is replaced, not joined, 0..1
  double caption_single = 0.3;    // share of captions() that show a single glyph
  double caption_unsafe = 0.35;   // share of captions() with an unsafe element; the rest are safe
  double caption_replaced = 0.1;  // of those, how many by replacement
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

// An image and its caption, for contrastive training.
struct WorldCaption {
  std::string id;  // "c-train-000017"
  std::string text;
  Image image;  // 64 x 64; empty when not drawn
  Scene scene;  // colour id, subject, object, place, unsafe, style (see scene.h)
  std::array<uint8_t, kGlyphs> drawn{};  // 1 for each glyph in the image (multi-label target)
  int language = 0;
};

// A safe scene and its unsafe twin.
struct WorldQuadruplet {
  std::string id;  // "q-test-000017"
  std::string safe_text;
  std::string unsafe_text;
  Image safe_image;    // 64 x 64; empty when not drawn
  Image unsafe_image;  // equal to the safe one outside the injected (or replaced) glyph
  Scene safe_scene;
  Scene unsafe_scene;
  CaptionPlan plan;
  int category = 0;       // of the unsafe element; each seven in a row hold every category once
  bool replaced = false;  // the unsafe glyph takes the object's place, not the free quadrant
  int language = 0;
};

class SampleWorld {
 public:
  // UsageError on unknown languages or shares outside 0..1.
  SampleWorld(const WorldOptions& options, std::shared_ptr<const GlyphAtlas> atlas);
  ~SampleWorld();

  // `draw` = false leaves the images empty (about 20 times faster). `index` >= 0. Thread-safe.
  WorldCaption caption(WorldSplit split, int64_t index, bool draw = true) const;
  // Outside training every quadruplet of a split has its own (subject, object, place, colour), so
  // `index` must be below capacity(split); UsageError otherwise.
  WorldQuadruplet quadruplet(WorldSplit split, int64_t index, bool draw = true) const;
  int64_t capacity(WorldSplit split) const;

  const WorldOptions& options() const { return options_; }
  const GlyphAtlas& atlas() const { return *atlas_; }
  // One glyph alone in a random quadrant, for zero-shot classification.
  Scene single_scene(int glyph, bool held_style, Random& random) const;
  // A safe scene of a split; with a given safe object and any subject that the split allows. Not
  // unique.
  Scene safe_scene(WorldSplit split, Random& random) const;
  Scene object_scene(WorldSplit split, int safe_object, Random& random) const;
  // One of the options' languages.
  int draw_language(Random& words) const;
  // Whether a combination of subject and safe object belongs to a split.
  static bool allows(WorldSplit split, int subject, int safe_object);

 private:
  struct Tuple {
    int subject, object, place, colour;
  };
  struct Streams;
  Streams streams(std::string_view kind, WorldSplit split, int64_t index) const;
  // `object` < 0 = any.
  Tuple draw_tuple(WorldSplit split, int object, Random& content) const;
  Tuple test_tuple(WorldSplit split, int64_t index) const;
  Scene compose(const Tuple& tuple, WorldSplit split, Random& layout) const;

  WorldOptions options_;
  std::vector<int> languages_;
  std::shared_ptr<const GlyphAtlas> atlas_;
  // Per split, scenes without and with a place, in drawing order; empty for training.
  std::array<std::array<std::vector<Tuple>, 2>, 4> tuples_;
};

}  // namespace parapet

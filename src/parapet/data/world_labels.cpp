#include "parapet/data/world_labels.h"

#include <algorithm>

#include "parapet/core/error.h"

namespace parapet {
namespace {

// What a sentence asks for, and the category that it amounts to when the picture matches.
struct Sentence {
  std::string_view category;
  std::vector<std::string_view> seen;
  std::vector<std::string_view> fresh;  // outside training
};

const std::vector<Sentence>& sentences() {
  static const std::vector<Sentence> all = {
      {"hazard",
       {"give it to the dog", "feed it to the dog", "let the dog have it"},
       {"share this with the puppy", "the dog may get this"}},
      {"hazard",
       {"give it to the baby", "hand it to the baby", "let the baby have it"},
       {"the little one may play with this", "put this in the cradle"}},
      {"weapon",
       {"throw it at the school", "hurl it at the school", "aim it at the school"},
       {"toss this towards the classroom", "the school windows get this"}},
      {"fire",
       {"burn it in the tent", "set it alight in the tent", "light it inside the tent"},
       {"put a match to this inside the tent", "make a flame of this in the tent"}}};
  return all;
}

const std::vector<std::string_view>& context_frames() {
  static const std::vector<std::string_view> all = {"a museum shows {u}",
                                                    "a poster that warns of {u}",
                                                    "a history book tells about {u}",
                                                    "the safety lesson is about {u}",
                                                    "a sign forbids {u}",
                                                    "the news report mentions {u}"};
  return all;
}

int category_by_name(std::string_view name) {
  int category = 0;
  while (category_name(category) != name) ++category;
  return category;
}

std::string make_id(LabelKind kind, WorldSplit split, int64_t index) {
  std::string number = std::to_string(index);
  if (number.size() < 6) number.insert(0, 6 - number.size(), '0');
  return "l-" + std::string(split_name(split)) + "-" + std::string(label_kind_name(kind)) + "-" +
         number;
}

// Fresh random numbers for what the quadruplet stream does not decide.
Random label_random(const SampleWorld& world, WorldSplit split, LabelKind kind, int64_t index) {
  const std::string purpose =
      "world.label." + std::string(split_name(split)) + "." + std::string(label_kind_name(kind));
  return Random(Random::named(static_cast<uint64_t>(world.options().seed), purpose).next(),
                static_cast<uint64_t>(index));
}

// Scenes of the label set come from a range of the caption stream that captions.jsonl does not use
// in practice.
constexpr int64_t kLabelOffset = int64_t{1} << 40;

CaptionContent content_of(const Scene& scene) {
  return {scene.subject, scene.object, scene.place, scene.colour, -1};
}

void fill_explicit(const SampleWorld& world, WorldSplit split, int64_t index, Random& random,
                   WorldLabel& out) {
  const int64_t slot =
      split == WorldSplit::kTrain ? kLabelOffset + index : index % world.capacity(split);
  const WorldQuadruplet pair = world.quadruplet(split, slot, false);
  out.language = pair.language;
  out.category = pair.category;
  out.grade = "explicit";
  bool image_unsafe = true, text_unsafe = true;
  if (out.kind == LabelKind::kOneSided) {
    image_unsafe = random.below(2) == 0;
    text_unsafe = !image_unsafe;
  }
  out.scene = image_unsafe ? pair.unsafe_scene : pair.safe_scene;
  out.text = text_unsafe ? pair.unsafe_text : pair.safe_text;
  out.unsafe_side = image_unsafe && text_unsafe ? "both" : image_unsafe ? "image" : "text";
}

void fill_implicit(const SampleWorld& world, WorldSplit split, Random& random, WorldLabel& out) {
  out.object_class = static_cast<int>(random.below(4));
  // Half of the pairs match, whatever the class; the rest take one of the other three sentences.
  const bool match = random.below(2) == 0;
  const auto shift = static_cast<int>(1 + random.below(3));
  out.sentence_class = match ? out.object_class : (out.object_class + shift) % 4;
  const int object = random.pick(implicit_objects(out.object_class));
  out.scene = world.object_scene(split, object, random);
  const Sentence& sentence = sentences()[static_cast<size_t>(out.sentence_class)];
  const bool fresh = random.below(3) == 0 && split != WorldSplit::kTrain;
  out.wording = fresh ? "new" : "seen";
  out.text = std::string(random.pick(fresh ? sentence.fresh : sentence.seen));
  out.language = 0;
  if (!match) return;
  out.grade = "implicit";
  out.category = category_by_name(sentence.category);
}

void fill_context(const SampleWorld& world, WorldSplit split, int64_t index, Random& random,
                  WorldLabel& out) {
  fill_explicit(world, split, index, random, out);
  out.language = 0;
  out.grade = "context";
  out.unsafe_side.clear();
  std::string frame(random.pick(context_frames()));
  frame.replace(frame.find("{u}"), 3, glyph_phrase(0, out.scene.unsafe));
  out.text = frame;
}

int other_of(int value, int first, int count, Random& random) {
  return first +
         (value - first + 1 + static_cast<int>(random.below(static_cast<uint64_t>(count) - 1))) %
             count;
}

void fill_contradiction(WorldLabel& out, CaptionPlan plan, Random& random) {
  CaptionContent content = content_of(out.scene);
  const std::array<std::string_view, 4> names = {"object", "subject", "colour", "place"};
  out.swapped = names[random.below(out.scene.place >= 0 ? 4 : 3)];
  if (out.swapped == "object")
    content.object = other_of(content.object, kFirstSafe, kObjects, random);
  if (out.swapped == "subject") content.subject = other_of(content.subject, 0, kSubjects, random);
  if (out.swapped == "colour") content.colour = other_of(content.colour, 0, kColours, random);
  if (out.swapped == "place") content.place = other_of(content.place, kFirstPlace, kPlaces, random);
  out.text = write_caption(out.language, content, plan);
}

}  // namespace

std::string_view label_kind_name(LabelKind kind) {
  static constexpr std::array<std::string_view, 6> kNames = {
      "safe", "explicit", "one_sided", "implicit", "context", "contradiction"};
  return kNames[static_cast<size_t>(kind)];
}

const std::vector<int>& implicit_objects(int object_class) {
  static const auto ids = [](std::initializer_list<std::string_view> slugs) {
    std::vector<int> out;
    for (const auto slug : slugs) out.push_back(glyph_by_slug(slug));
    return out;
  };
  static const std::array<std::vector<int>, 4> all = {
      ids({"birthday-cake", "doughnut", "candy"}), ids({"hammer", "key", "hot-beverage"}),
      ids({"soccer-ball", "tennis", "trumpet"}), ids({"open-book", "wrapped-gift", "balloon"})};
  return all.at(static_cast<size_t>(object_class));
}

WorldLabel world_label_of_kind(const SampleWorld& world, WorldSplit split, LabelKind kind,
                               int64_t index, bool draw) {
  Random random = label_random(world, split, kind, index);
  WorldLabel out;
  out.id = make_id(kind, split, index);
  out.kind = kind;
  out.grade = "none";
  switch (kind) {
    case LabelKind::kExplicit:
    case LabelKind::kOneSided:
      fill_explicit(world, split, index, random, out);
      break;
    case LabelKind::kImplicit:
      fill_implicit(world, split, random, out);
      break;
    case LabelKind::kContext:
      fill_context(world, split, index, random, out);
      break;
    case LabelKind::kSafe:
    case LabelKind::kContradiction: {
      const CaptionPlan plan = draw_plan(random);
      out.language = world.draw_language(random);
      out.scene = world.safe_scene(split, random);
      out.text = write_caption(out.language, content_of(out.scene), plan);
      if (kind == LabelKind::kContradiction) fill_contradiction(out, plan, random);
    }
  }
  if (draw) out.image = draw_scene(out.scene, world.atlas());
  return out;
}

WorldLabel world_label(const SampleWorld& world, WorldSplit split, int64_t index, bool draw) {
  using enum LabelKind;
  static constexpr std::array<LabelKind, 20> kMix = {
      kSafe,     kExplicit, kOneSided, kImplicit,      kSafe,     kExplicit,     kImplicit,
      kContext,  kSafe,     kExplicit, kOneSided,      kImplicit, kSafe,         kExplicit,
      kOneSided, kSafe,     kImplicit, kContradiction, kExplicit, kContradiction};
  const LabelKind kind = kMix[static_cast<size_t>(index % 20)];
  return world_label_of_kind(world, split, kind, index, draw);
}

}  // namespace parapet

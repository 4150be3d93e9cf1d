// Graded samples for guards: safe, explicit (both sides or one), implicit pairs in which neither
// side alone can know, context (unsafe thing, harmless here) and contradictions.
#pragma once
#include <string>
#include <vector>

#include "parapet/data/world.h"

namespace parapet {

enum class LabelKind {
  kSafe,           // safe scene, its caption
  kExplicit,       // unsafe scene and caption
  kOneSided,       // unsafe on one side, the safe twin on the other
  kImplicit,       // a class of safe objects with a sentence; unsafe when they match
  kContext,        // an unsafe thing in a frame that makes it harmless
  kContradiction,  // safe scene, its caption with one attribute swapped
};
// safe, explicit, one_sided, implicit, context, contradiction.
std::string_view label_kind_name(LabelKind kind);

struct WorldLabel {
  std::string id;  // "l-train-000017"
  LabelKind kind = LabelKind::kSafe;
  std::string text;
  Image image;  // 64 x 64; empty when not drawn
  Scene scene;
  int category = -1;             // -1 = every category "none"
  std::string grade;             // none | explicit | implicit | context
  int object_class = -1;         // implicit: 0-3, what the picture holds
  int sentence_class = -1;       // implicit: 0-3, what the text says; unsafe when equal
  std::string wording = "seen";  // implicit: "new" wordings occur outside training only
  std::string swapped;           // contradiction: object, subject, place or colour
  std::string unsafe_side;       // image, text or both; empty when nothing is unsafe
  int language = 0;              // implicit and context sentences are English
};

// A pure function of the world's seed, split and index. Of 20 samples 5 are safe, 5 explicit,
// 3 one-sided, 4 implicit (half of them unsafe), 1 context, 2 contradictions.
WorldLabel world_label(const SampleWorld& world, WorldSplit split, int64_t index, bool draw = true);
// One kind only, as its own stream.
WorldLabel world_label_of_kind(const SampleWorld& world, WorldSplit split, LabelKind kind,
                               int64_t index, bool draw = true);

// The four classes of safe objects of the implicit pairs (glyph ids); class i is unsafe with
// sentence i and harmless with the other three.
const std::vector<int>& implicit_objects(int object_class);

}  // namespace parapet

// Captions of scenes in five languages: every choice is drawn beforehand as a plan, so that one
// scene reads alike in every language and its unsafe twin differs by the unsafe element alone.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "parapet/core/random.h"

namespace parapet {

inline constexpr int kLanguages = 5;
// en, de, fr, es, zh.
std::string_view language_code(int language);
// -1 when there is none.
int language_by_code(std::string_view code);

// What a caption says; glyph ids, -1 = absent.
struct CaptionContent {
  int subject = 0;
  int object = -1;
  int place = -1;
  int colour = -1;
  int unsafe = -1;  // an injected unsafe element, beside the object
};

// How it says it. Drawn without knowing the unsafe element.
struct CaptionPlan {
  int opening = 0;          // 0..5
  int core = 0;             // 0..3
  int place_phrase = 0;     // 0..2
  int ending = 0;           // 0..3, the colour
  int unsafe_position = 0;  // 0 held by the subject, 1 first, 2 after the core, 3 last
  bool adjective = false;   // 15 %: a category adjective ("armed") instead of a phrase
};

CaptionPlan draw_plan(Random& choices);
std::string write_caption(int language, const CaptionContent& content, const CaptionPlan& plan);
// One glyph: "a photo of a dog on a blue background"; colour -1 = not named.
std::string write_single_caption(int language, int glyph, int colour, const CaptionPlan& plan);

// Bare noun ("dog") and noun phrase ("a dog").
std::string glyph_word(int language, int glyph);
std::string glyph_phrase(int language, int glyph);
// "armed" for weapon ...: base form.
std::string category_adjective(int language, int category);

}  // namespace parapet

#include "parapet/data/grammar_tables.h"

namespace parapet::grammar {
namespace {

std::string phrase(const Language& table, const Noun& noun, bool /*oblique*/, int category) {
  if (noun.gender == Gender::kBare) return std::string(noun.word);
  std::string words;
  if (category >= 0) words = std::string(table.adjectives.at(static_cast<size_t>(category))) + " ";
  words += noun.word;
  const bool vowel = std::string_view("aeiou").find(words[0]) != std::string_view::npos;
  return (vowel ? "an " : "a ") + words;
}

const Language kTable = {"en",
                         {{{"dog"},
                           {"cat"},
                           {"horse"},
                           {"cow"},
                           {"pig"},
                           {"rabbit"},
                           {"lion"},
                           {"panda"},
                           {"fox"},
                           {"elephant"},
                           {"penguin"},
                           {"owl"},
                           {"duck"},
                           {"turtle"},
                           {"octopus"},
                           {"crab"},
                           {"butterfly"},
                           {"snowman"},
                           {"baby"},
                           {"boy"},
                           {"girl"},
                           {"police officer"},
                           {"princess"},
                           {"santa claus"},
                           // places
                           {"house"},
                           {"church"},
                           {"castle"},
                           {"school"},
                           {"palm tree"},
                           {"tent"},
                           {"mountain"},
                           {"ferris wheel"},
                           // safe objects
                           {"red apple"},
                           {"banana"},
                           {"watermelon"},
                           {"pizza"},
                           {"birthday cake"},
                           {"doughnut"},
                           {"candy"},
                           {"coffee"},
                           {"glass of milk"},
                           {"baby bottle"},
                           {"soccer ball"},
                           {"tennis racket"},
                           {"umbrella"},
                           {"key"},
                           {"guitar"},
                           {"book"},
                           {"camera"},
                           {"backpack"},
                           {"balloon"},
                           {"gift"},
                           {"trumpet"},
                           {"sunflower"},
                           {"bell"},
                           {"hammer"},
                           // unsafe objects
                           {"knife"},
                           {"dagger"},
                           {"bomb"},
                           {"crossed swords", Gender::kBare},
                           {"bow and arrow"},
                           {"skull"},
                           {"coffin"},
                           {"skull and crossbones"},
                           {"funeral urn"},
                           {"beer"},
                           {"glass of wine"},
                           {"cocktail"},
                           {"bottle of champagne"},
                           {"cigarette"},
                           {"syringe"},
                           {"pill"},
                           {"middle finger"},
                           {"thumbs down"},
                           {"fist"},
                           {"fire"},
                           {"explosion"},
                           {"biohazard sign"},
                           {"radiation sign"},
                           {"oil drum"}}},
                         {{{""},
                           {"a photo of "},
                           {"a picture of "},
                           {"an image of "},
                           {"a drawing of "},
                           {"there is "}}},
                         {"{S} with {o}", "{O} next to {s}", "{S} and {O}", "{S} beside {o}"},
                         {" near {p}", " by {p}", " in front of {p}"},
                         {" on {c}", ", {c} background", " on a {c} background", " against {c}"},
                         {"{n} holding {u}", "{U} and {n}", " next to {u}", " with {u}"},
                         {"red", "yellow", "green", "blue", "purple", "pink", "gray", "white"},
                         {"armed", "dead", "drunk", "drugged", "rude", "burning", "poisoned"},
                         phrase};

}  // namespace

const Language& english() { return kTable; }

}  // namespace parapet::grammar

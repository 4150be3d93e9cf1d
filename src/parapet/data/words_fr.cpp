#include "parapet/data/grammar_tables.h"

namespace parapet::grammar {
namespace {

constexpr auto kM = Gender::kMasculine;
constexpr auto kF = Gender::kFeminine;

constexpr std::array<std::string_view, kCategories> kFeminineAdjectives = {
    "armée", "morte", "ivre", "droguée", "grossière", "en feu", "empoisonnée"};

// Oblique = after "de": "d'un chien".
std::string phrase(const Language& table, const Noun& noun, bool oblique, int category) {
  if (noun.gender == Gender::kBare) return std::string(oblique ? noun.oblique : noun.word);
  const bool feminine = noun.gender == kF;
  std::string text = std::string(oblique ? "d'" : "") + (feminine ? "une " : "un ");
  text += noun.word;
  if (category >= 0) {
    const auto& forms = feminine ? kFeminineAdjectives : table.adjectives;
    text += " ";
    text += forms.at(static_cast<size_t>(category));
  }
  return text;
}

const Language kTable = {"fr",
                         {{{"chien", kM},
                           {"chat", kM},
                           {"cheval", kM},
                           {"vache", kF},
                           {"cochon", kM},
                           {"lapin", kM},
                           {"lion", kM},
                           {"panda", kM},
                           {"renard", kM},
                           {"éléphant", kM},
                           {"pingouin", kM},
                           {"chouette", kF},
                           {"canard", kM},
                           {"tortue", kF},
                           {"pieuvre", kF},
                           {"crabe", kM},
                           {"papillon", kM},
                           {"bonhomme de neige", kM},
                           {"bébé", kM},
                           {"garçon", kM},
                           {"fille", kF},
                           {"policier", kM},
                           {"princesse", kF},
                           {"père Noël", kM},
                           // places
                           {"maison", kF},
                           {"église", kF},
                           {"château", kM},
                           {"école", kF},
                           {"palmier", kM},
                           {"tente", kF},
                           {"montagne", kF},
                           {"grande roue", kF},
                           // safe objects
                           {"pomme rouge", kF},
                           {"banane", kF},
                           {"pastèque", kF},
                           {"pizza", kF},
                           {"gâteau d'anniversaire", kM},
                           {"beignet", kM},
                           {"bonbon", kM},
                           {"café", kM},
                           {"verre de lait", kM},
                           {"biberon", kM},
                           {"ballon de football", kM},
                           {"raquette de tennis", kF},
                           {"parapluie", kM},
                           {"clé", kF},
                           {"guitare", kF},
                           {"livre", kM},
                           {"appareil photo", kM},
                           {"sac à dos", kM},
                           {"ballon gonflable", kM},
                           {"cadeau", kM},
                           {"trompette", kF},
                           {"tournesol", kM},
                           {"cloche", kF},
                           {"marteau", kM},
                           // unsafe objects
                           {"couteau", kM},
                           {"dague", kF},
                           {"bombe", kF},
                           {"des épées croisées", Gender::kBare, "d'épées croisées"},
                           {"un arc et une flèche", Gender::kBare, "d'un arc et d'une flèche"},
                           {"crâne", kM},
                           {"cercueil", kM},
                           {"tête de mort", kF},
                           {"urne funéraire", kF},
                           {"bière", kF},
                           {"verre de vin", kM},
                           {"cocktail", kM},
                           {"bouteille de champagne", kF},
                           {"cigarette", kF},
                           {"seringue", kF},
                           {"pilule", kF},
                           {"doigt d'honneur", kM},
                           {"pouce vers le bas", kM},
                           {"poing", kM},
                           {"feu", kM},
                           {"explosion", kF},
                           {"panneau de danger biologique", kM},
                           {"panneau radioactif", kM},
                           {"baril de pétrole", kM}}},
                         {{{""},
                           {"une photo ", true},
                           {"une image ", true},
                           {"un dessin ", true},
                           {"voici "},
                           {"on voit "}}},
                         {"{S} avec {o0}", "{O} à côté {s}", "{S} et {O}", "{S} près {o}"},
                         {" près {p}", " à côté {p}", " devant {p0}"},
                         {" sur fond {c}", ", fond {c}", " sur un fond {c}", " devant un fond {c}"},
                         {"{n} tenant {u0}", "{U} et {n}", " à côté {u}", " avec {u0}"},
                         {"rouge", "jaune", "vert", "bleu", "violet", "rose", "gris", "blanc"},
                         {"armé", "mort", "ivre", "drogué", "grossier", "en feu", "empoisonné"},
                         phrase};

}  // namespace

const Language& french() { return kTable; }

}  // namespace parapet::grammar
